//! Compiles the `.proto` files, without a system `protoc`. The vocabulary's messages are those of `convoke-proto`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../proto/proto");
    let files = protox::compile(["wire.proto", "program.proto"], ["proto", "../proto/proto"])?;
    tonic_prost_build::configure()
        .extern_path(".convoke.v1", "::convoke_proto::v1")
        .bytes(".convoke.wire.v1.PutChunk.data")
        .bytes(".convoke.wire.v1.Chunk.data")
        .bytes(".convoke.program.v1.Piece.data")
        .compile_fds(files)?;
    Ok(())
}
