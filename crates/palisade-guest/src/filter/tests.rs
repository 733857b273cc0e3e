//! The table and the program against each other, the kernel's headers, another compiler and the kernel itself.

mod equivalence;
mod interpreter;
mod live;
mod shape;
