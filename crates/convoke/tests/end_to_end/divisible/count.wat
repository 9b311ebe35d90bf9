;; Writes one letter, after some work.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\00\00\00\00\01\00\00\00x")
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 40000000))
    (loop $work
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $work (local.get $left)))
    (i32.store (i32.const 8) (i32.const 16))
    (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))
