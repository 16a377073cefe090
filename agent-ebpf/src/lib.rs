//! Empty. A library target lets cargo resolve this package on the host, where its programs cannot be built.

#![no_std]
