//! Tokens, and whom they let in. It does not know what a certificate is.

use expect_test::expect;

use super::*;
use crate::coordinator::credentials::{NAMES_MAX, REMEMBERED_MAX, TOKENS_MAX};

#[test]
fn a_token_lets_in_whoever_has_its_secret() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.create_token(NewToken { name: Some("kim".to_owned()), uses: Some(1), ..token(2, Role::Client) });
    trace.enrol(1, 1, "lab-1", 0xa1);
    // The token says what it is called.
    trace.enrol(2, 2, "somebody", 0xa2);
    trace.tokens();
    trace.check(expect![[r#"
        0 > create token 00000001
          + token 00000001 for any worker created by kim
          reply to 1: TokenCreated
        0 > create token 00000002
          + token 00000002 for the client kim created by kim
          reply to 2: TokenCreated
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          + token 00000001 let lab-1 in, number 1
          reply to 3: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 1, name: "lab-1" })
        0 > "somebody" enrols by 00000002 with secret 02020202 and key a2a2a2a2
          + token 00000002 let kim in, number 2
          reply to 4: Enrolled(Identity { role: Client, commands: false, token: 00000002, serial: 2, name: "kim" })
        0 > tokens
          reply to 5: Tokens([TokenView { token: 00000001, role: Worker, commands: false, name: None, expires_ms: None, uses: None, used: 1, by: "kim" }, TokenView { token: 00000002, role: Client, commands: false, name: Some("kim"), expires_ms: None, uses: Some(1), used: 1, by: "kim" }])
    "#]]);
    // Of another token, of none, and none at all: nothing is learnt.
    trace.enrol(1, 2, "lab-2", 0xa3);
    trace.enrol(3, 1, "lab-2", 0xa3);
    trace.enrol(0, 0, "lab-2", 0xa3);
    trace.enrol(1, 1, "", 0xa3);
    trace.enrol(1, 1, "a\nb", 0xa3);
    trace.check(expect![[r#"
        0 > "lab-2" enrols by 00000001 with secret 02020202 and key a3a3a3a3
          reply to 6: Refused(NoSuchToken)
        0 > "lab-2" enrols by 00000003 with secret 01010101 and key a3a3a3a3
          reply to 7: Refused(NoSuchToken)
        0 > "lab-2" enrols by 00000000 with secret 00000000 and key a3a3a3a3
          reply to 8: Refused(NoSuchToken)
        0 > "" enrols by 00000001 with secret 01010101 and key a3a3a3a3
          reply to 9: Refused(Spec(Name { what: "worker", name: "" }))
        0 > "a\nb" enrols by 00000001 with secret 01010101 and key a3a3a3a3
          reply to 10: Refused(Spec(Name { what: "worker", name: "a\nb" }))
    "#]]);
    assert_eq!(trace.machine.durable().credentials().enrolled, 2);
}

#[test]
fn the_right_to_run_commands_is_whom_a_token_lets_in_for_good() {
    let mut trace = Trace::new();
    let new = NewToken { commands: true, ..token(1, Role::Client) };
    trace.create_token(new.clone());
    trace.create_token(NewToken { commands: false, ..new });
    trace.enrol(1, 1, "kim", 0xa1);
    trace.revoke_token(1);
    // The new one gives it to nobody.
    trace.create_token(token(1, Role::Client));
    trace.enrol(1, 1, "kim", 0xa1);
    for role in [Role::Worker, Role::Admin] {
        trace.create_token(NewToken { commands: true, ..token(2, role) });
    }
    trace.check(expect![[r#"
        0 > create token 00000001
          + token 00000001 for any client to run commands created by kim
          reply to 1: TokenCreated
        0 > create token 00000001
          reply to 2: Refused(AnotherToken(00000001))
        0 > "kim" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          + token 00000001 let kim in, number 1
          reply to 3: Enrolled(Identity { role: Client, commands: true, token: 00000001, serial: 1, name: "kim" })
        0 > revoke token 00000001
          + token 00000001 revoked
          reply to 4: TokenRevoked
        0 > create token 00000001
          + token 00000001 for any client created by kim
          reply to 5: TokenCreated
        0 > "kim" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          + token 00000001 let kim in, number 2
          reply to 6: Enrolled(Identity { role: Client, commands: false, token: 00000001, serial: 2, name: "kim" })
        0 > create token 00000002
          reply to 7: Refused(NoCommands(Worker))
        0 > create token 00000002
          reply to 8: Refused(NoCommands(Admin))
    "#]]);
}

#[test]
fn a_creation_says_what_it_came_to() {
    let mut trace = Trace::new();
    let new = NewToken { uses: Some(1), ..token(1, Role::Worker) };
    trace.create_token(new.clone());
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.create_token(new.clone());
    trace.create_token(NewToken { role: Role::Admin, ..new.clone() });
    trace.create_token(NewToken { secret: Digest([9; 32]), ..new.clone() });
    trace.create_token(token(0, Role::Admin));
    trace.create_token(NewToken { uses: Some(0), ..token(2, Role::Worker) });
    trace.create_token(NewToken { name: Some(String::new()), ..token(2, Role::Client) });
    trace.create_token(NewToken { by: "\t".to_owned(), ..token(2, Role::Client) });
    trace.revoke_token(2);
    trace.check(expect![[r#"
        0 > create token 00000001
          + token 00000001 for any worker created by kim
          reply to 1: TokenCreated
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          + token 00000001 let lab-1 in, number 1
          reply to 2: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 1, name: "lab-1" })
        0 > create token 00000001
          reply to 3: TokenCreated
        0 > create token 00000001
          reply to 4: Refused(AnotherToken(00000001))
        0 > create token 00000001
          reply to 5: Refused(AnotherToken(00000001))
        0 > create token 00000000
          reply to 6: Refused(AnotherToken(00000000))
        0 > create token 00000002
          reply to 7: Refused(Spec(Count { what: "uses", value: 0, min: 1, max: 4294967295 }))
        0 > create token 00000002
          reply to 8: Refused(Spec(Name { what: "client", name: "" }))
        0 > create token 00000002
          reply to 9: Refused(Spec(Name { what: "creator", name: "\t" }))
        0 > revoke token 00000002
          reply to 10: Refused(NoSuchToken)
    "#]]);
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut trace = Trace::new();
    trace.create_token(NewToken { uses: Some(1), expires_ms: Some(2_000), ..token(1, Role::Worker) });
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.skip();
    // Whatever the machine is called by now, and when the token is used up, and when it has expired.
    trace.enrol(1, 1, "lab-2", 0xa1);
    trace.restart();
    trace.pass(5_000);
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.enrol(1, 1, "lab-1", 0xa2);
    trace.check(expect![[r#"
        0 > "lab-2" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          reply to 3: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 1, name: "lab-1" })
        0 > restart
          + term 2 opened
        5000 > "lab-1" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          reply to 4: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 1, name: "lab-1" })
        5000 > "lab-1" enrols by 00000001 with secret 01010101 and key a2a2a2a2
          reply to 5: Refused(TokenExpired { by_ms: 4000 })
    "#]]);
}

#[test]
fn a_token_is_used_up_and_expires() {
    let mut trace = Trace::new();
    trace.create_token(NewToken { uses: Some(2), expires_ms: Some(2_000), ..token(1, Role::Worker) });
    trace.skip();
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.enrol(1, 1, "lab-1", 0xa2);
    trace.enrol(1, 1, "lab-1", 0xa3);
    trace.create_token(NewToken { expires_ms: Some(2_000), ..token(2, Role::Worker) });
    trace.pass(999);
    trace.enrol(2, 2, "lab-2", 0xa4);
    trace.pass(1);
    trace.enrol(2, 2, "lab-2", 0xa5);
    trace.enrol(1, 1, "lab-1", 0xa5);
    trace.check(expect![[r#"
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          + token 00000001 let lab-1 in, number 1
          reply to 2: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 1, name: "lab-1" })
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a2a2a2a2
          + token 00000001 let lab-1 in, number 2
          reply to 3: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 2, name: "lab-1" })
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a3a3a3a3
          reply to 4: Refused(TokenUsedUp)
        0 > create token 00000002
          + token 00000002 for any worker created by kim
          reply to 5: TokenCreated
        999 > "lab-2" enrols by 00000002 with secret 02020202 and key a4a4a4a4
          + token 00000002 let lab-2 in, number 3
          reply to 6: Enrolled(Identity { role: Worker, commands: false, token: 00000002, serial: 3, name: "lab-2" })
        1000 > "lab-2" enrols by 00000002 with secret 02020202 and key a5a5a5a5
          reply to 7: Refused(TokenExpired { by_ms: 0 })
        1000 > "lab-1" enrols by 00000001 with secret 01010101 and key a5a5a5a5
          reply to 8: Refused(TokenExpired { by_ms: 0 })
    "#]]);
}

#[test]
fn a_revoked_token_is_gone_and_whom_it_let_in_stays() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.skip();
    trace.revoke_token(1);
    trace.revoke_token(1);
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.connect_as(1, hello(1, "lab-1", 1), identity(Role::Worker, 1, 1, "lab-1"));
    trace.tokens();
    trace.check(expect![[r#"
        0 > revoke token 00000001
          + token 00000001 revoked
          reply to 3: TokenRevoked
        0 > revoke token 00000001
          reply to 4: Refused(NoSuchToken)
        0 > "lab-1" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          reply to 5: Refused(NoSuchToken)
        0 > lab-1 in session 1, holding 0
          notice: lab-1 joined with 1 slot
          to session 1: welcome lab-1 to term 1
        0 > tokens
          reply to 6: Tokens([])
    "#]]);
}

#[test]
fn a_hundred_at_once_use_a_token_for_ten_ten_times() {
    let mut trace = Trace::new();
    trace.create_token(NewToken { uses: Some(10), ..token(1, Role::Worker) });
    // Each asks twice, and all of them ask first.
    for machine in (0..100).chain(0..100) {
        trace.enrol(1, 1, &format!("lab-{machine}"), machine);
    }
    let enrolled: Vec<_> = trace.journal.iter().filter(|event| matches!(event, Event::Enrolled { .. })).collect();
    assert_eq!(enrolled.len(), 10);
    assert_eq!(trace.text.matches("Refused(TokenUsedUp)").count(), 180);
    assert_eq!(trace.text.matches("Enrolled(Identity").count(), 20);
    assert_eq!(&trace.refold(), trace.machine.durable());
}

#[test]
fn a_token_remembers_the_last_of_those_whom_it_let_in() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    for machine in 0..=REMEMBERED_MAX as u8 {
        trace.enrol(1, 1, "lab", machine);
    }
    trace.skip();
    trace.enrol(1, 1, "lab", 1);
    trace.enrol(1, 1, "lab", 0);
    trace.check(expect![[r#"
        0 > "lab" enrols by 00000001 with secret 01010101 and key 01010101
          reply to 67: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 2, name: "lab" })
        0 > "lab" enrols by 00000001 with secret 01010101 and key 00000000
          + token 00000001 let lab in, number 66
          reply to 68: Enrolled(Identity { role: Worker, commands: false, token: 00000001, serial: 66, name: "lab" })
    "#]]);
}

#[test]
fn a_token_that_is_spent_makes_room() {
    let mut trace = Trace::new();
    let brief = |id| NewToken { uses: Some(1), ..token(id, Role::Worker) };
    trace.create_token(NewToken { expires_ms: Some(2_000), ..token(1, Role::Worker) });
    (2..=TOKENS_MAX as u64).for_each(|id| trace.create_token(brief(id)));
    trace.skip();
    trace.create_token(brief(5_000));
    trace.check(expect![[r#"
        0 > create token 000004w8
          reply to 4097: Refused(TooManyTokens)
    "#]]);
    trace.enrol(7, 7, "lab-7", 7);
    trace.enrol(3, 3, "lab-3", 3);
    trace.pass(1_000);
    trace.skip();
    // First the one that expired, then the one that was used up first.
    (5_000..5_004).for_each(|id| trace.create_token(brief(id)));
    trace.check(expect![[r#"
        1000 > create token 000004w8
          + token 00000001 revoked
          + token 000004w8 for any worker created by kim
          reply to 4100: TokenCreated
        1000 > create token 000004w9
          + token 00000007 revoked
          + token 000004w9 for any worker created by kim
          reply to 4101: TokenCreated
        1000 > create token 000004wa
          + token 00000003 revoked
          + token 000004wa for any worker created by kim
          reply to 4102: TokenCreated
        1000 > create token 000004wb
          reply to 4103: Refused(TooManyTokens)
    "#]]);
}

#[test]
fn names_are_remembered_up_to_a_limit() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    for machine in 0..=NAMES_MAX {
        trace.enrol(1, 1, &format!("lab-{machine}"), machine as u8 & 63);
        trace.revoke_token(1);
        trace.create_token(token(1, Role::Worker));
    }
    assert_eq!(trace.machine.durable().credentials().names.len(), NAMES_MAX);
    trace.skip();
    trace.remove(Role::Worker, "lab-0");
    trace.connect_as(1, hello(1, "lab-0", 1), identity(Role::Worker, 1, 1, "lab-0"));
    trace.remove(Role::Worker, "lab-0");
    trace.remove(Role::Worker, "lab-1");
    trace.check(expect![[r#"
        0 > remove the worker lab-0
          + the worker lab-0 removed, through number 8193
          reply to 24581: IdentityRemoved
        0 > lab-0 in session 1, holding 0
          close session 1: the worker was removed
        0 > remove the worker lab-0
          reply to 24582: IdentityRemoved
        0 > remove the worker lab-1
          + the worker lab-1 removed, through number 8193
          reply to 24583: IdentityRemoved
    "#]]);
}

#[test]
fn events_that_do_not_fit_change_nothing() {
    let mut trace = Trace::new();
    trace.create_token(NewToken { uses: Some(1), ..token(1, Role::Worker) });
    trace.create_token(token(2, Role::Worker));
    trace.enrol(1, 1, "lab-1", 0xa1);
    trace.enrol(2, 2, "lab-2", 0xa2);
    trace.remove(Role::Worker, "lab-1");
    let enrolled = |token, serial| {
        let (token, name) = (TokenId::from_bits(token), "lab-3".to_owned());
        Event::Enrolled { token, serial, name, key: Digest([3; 32]) }
    };
    let removed = |name: &str, through| Event::IdentityRemoved { role: Role::Worker, name: name.to_owned(), through };
    let created = |id| {
        let NewToken { token, role, commands, name, secret, expires_ms, uses, by } = token(id, Role::Admin);
        Event::TokenCreated { token, role, commands, name, secret, expires_ms, uses, by }
    };
    let commanding = |role| {
        let NewToken { token, name, secret, expires_ms, uses, by, .. } = token(3, role);
        Event::TokenCreated { token, role, commands: true, name, secret, expires_ms, uses, by }
    };
    let unfit = [
        created(0),
        created(1),
        commanding(Role::Worker),
        commanding(Role::Admin),
        Event::TokenRevoked { token: TokenId::from_bits(3) },
        enrolled(1, 3),
        enrolled(2, 2),
        enrolled(2, 4),
        enrolled(3, 3),
        removed("lab-1", 2),
        removed("lab-2", 0),
        removed("lab-2", 3),
    ];
    let mut durable = trace.refold();
    for event in unfit {
        assert!(durable.apply(&event).is_err(), "{event}");
        assert_eq!(&durable, trace.machine.durable());
    }
    for event in [created(3), enrolled(2, 3), removed("lab-2", 3)] {
        assert_eq!(durable.apply(&event), Ok(()));
    }
}
