//! Tokens, between the wire's words and the machine's.

use convoke_core::{NewToken, Role, TokenId, check_name};
use convoke_wire::v1;
use tonic::Status;

/// A token that somebody asks for. The machine checks what it allows.
pub(crate) fn new_token(request: v1::CreateTokenRequest, by: &str) -> Result<NewToken, Status> {
    let role: Role = request.role.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
    let name = Some(request.name).filter(|name| !name.is_empty());
    if let Some(name) = &name {
        check_name("name", name).map_err(|error| Status::invalid_argument(error.to_string()))?;
    }
    let secret = request.secret.try_into().map_err(|_| Status::invalid_argument("a secret's hash has 32 bytes"))?;
    Ok(NewToken {
        token: TokenId::from_bits(request.token),
        role,
        commands: request.commands,
        name,
        secret: convoke_core::Digest(secret),
        expires_ms: request.expires_ms,
        uses: request.uses,
        by: by.to_owned(),
    })
}
