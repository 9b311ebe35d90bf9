//! Who is removed and stays out, and whose jobs are whose. It does not know how anybody proves who they are.

use expect_test::expect;

use super::*;
use crate::coordinator::credentials::REMOVED_MAX;

#[test]
fn a_removed_worker_loses_its_session_and_what_it_runs_is_for_others() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.enrol(1, 1, "ann", 0xa1);
    trace.enrol(1, 1, "bob", 0xa2);
    trace.connect_as(1, hello(1, "ann", 1), identity(Role::Worker, 1, 1, "ann"));
    trace.connect_as(2, hello(2, "bob", 1), identity(Role::Worker, 1, 2, "bob"));
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.remove(Role::Worker, "ann");
    // What it still says is nobody's, and it does not come back.
    trace.hear(1, FromWorker::Heartbeat);
    trace.connect_as(3, hello_holding(1, "ann", 1, &[0]), identity(Role::Worker, 1, 1, "ann"));
    trace.pass(6_000);
    trace.check(expect![[r#"
        0 > remove the worker ann
          + the worker ann removed, through number 2
          close session 1: the worker was removed
          notice: ann was lost with 1 task
          reply to 5: IdentityRemoved
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.3
        0 > ann in session 3, holding 1
          close session 3: the worker was removed
        5000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
    "#]]);
}

#[test]
fn only_a_newer_token_lets_a_removed_name_in_again() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.enrol(1, 1, "ann", 0xa1);
    trace.create_token(token(2, Role::Worker));
    trace.skip();
    trace.remove(Role::Worker, "ann");
    trace.enrol(1, 1, "ann", 0xa1);
    trace.enrol(2, 2, "ann", 0xa2);
    // A client of the same name is someone else.
    trace.create_token(token(3, Role::Client));
    trace.enrol(3, 3, "ann", 0xa3);
    trace.create_token(token(4, Role::Worker));
    trace.enrol(4, 4, "ann", 0xa1);
    trace.connect_as(1, hello(1, "ann", 1), identity(Role::Worker, 1, 1, "ann"));
    trace.connect_as(2, hello(1, "ann", 1), identity(Role::Worker, 4, 3, "ann"));
    trace.check(expect![[r#"
        0 > remove the worker ann
          + the worker ann removed, through number 1
          reply to 4: IdentityRemoved
        0 > "ann" enrols by 00000001 with secret 01010101 and key a1a1a1a1
          reply to 5: Refused(NameRemoved { role: Worker, name: "ann" })
        0 > "ann" enrols by 00000002 with secret 02020202 and key a2a2a2a2
          reply to 6: Refused(NameRemoved { role: Worker, name: "ann" })
        0 > create token 00000003
          + token 00000003 for any client created by kim
          reply to 7: TokenCreated
        0 > "ann" enrols by 00000003 with secret 03030303 and key a3a3a3a3
          + token 00000003 let ann in, number 2
          reply to 8: Enrolled(Identity { role: Client, commands: false, token: 00000003, serial: 2, name: "ann" })
        0 > create token 00000004
          + token 00000004 for any worker created by kim
          reply to 9: TokenCreated
        0 > "ann" enrols by 00000004 with secret 04040404 and key a1a1a1a1
          + token 00000004 let ann in, number 3
          reply to 10: Enrolled(Identity { role: Worker, commands: false, token: 00000004, serial: 3, name: "ann" })
        0 > ann in session 1, holding 0
          close session 1: the worker was removed
        0 > ann in session 2, holding 0
          notice: ann joined with 1 slot
          to session 2: welcome ann to term 1
    "#]]);
}

#[test]
fn all_of_a_name_are_removed_and_again_when_they_are_back() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.enrol(1, 1, "ann", 0xa1);
    trace.enrol(1, 1, "ann", 0xa2);
    // What it says it is called does not matter, nor that the name is taken.
    trace.connect_as(1, hello(1, "eve", 1), identity(Role::Worker, 1, 1, "ann"));
    trace.connect_as(2, hello(2, "eve", 1), identity(Role::Worker, 1, 2, "ann"));
    trace.join(3, "ann-3", 1);
    trace.skip();
    trace.remove(Role::Worker, "ann-2");
    trace.remove(Role::Worker, "ann");
    trace.remove(Role::Worker, "ann");
    trace.create_token(token(2, Role::Worker));
    trace.enrol(2, 2, "ann", 0xa1);
    trace.remove(Role::Worker, "ann");
    trace.remove(Role::Client, "ann");
    trace.check(expect![[r#"
        0 > remove the worker ann-2
          reply to 4: Refused(NoSuchIdentity { role: Worker, name: "ann-2" })
        0 > remove the worker ann
          + the worker ann removed, through number 2
          close session 1: the worker was removed
          notice: ann was lost with 0 tasks
          close session 2: the worker was removed
          notice: ann-2 was lost with 0 tasks
          reply to 5: IdentityRemoved
        0 > remove the worker ann
          reply to 6: IdentityRemoved
        0 > create token 00000002
          + token 00000002 for any worker created by kim
          reply to 7: TokenCreated
        0 > "ann" enrols by 00000002 with secret 02020202 and key a1a1a1a1
          + token 00000002 let ann in, number 3
          reply to 8: Enrolled(Identity { role: Worker, commands: false, token: 00000002, serial: 3, name: "ann" })
        0 > remove the worker ann
          + the worker ann removed, through number 3
          reply to 9: IdentityRemoved
        0 > remove the client ann
          reply to 10: Refused(NoSuchIdentity { role: Client, name: "ann" })
    "#]]);
}

#[test]
fn no_more_names_are_removed_than_can_be_kept() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    for machine in 0..=REMOVED_MAX {
        trace.enrol(1, 1, &format!("lab-{machine}"), 0xa1);
        trace.remove(Role::Worker, &format!("lab-{machine}"));
    }
    trace.create_token(token(2, Role::Worker));
    trace.enrol(2, 2, "lab-0", 0xa1);
    trace.skip();
    trace.remove(Role::Worker, &format!("lab-{REMOVED_MAX}"));
    trace.remove(Role::Worker, "lab-0");
    trace.check(expect![[r#"
        0 > remove the worker lab-8192
          reply to 16390: Refused(TooManyRemoved)
        0 > remove the worker lab-0
          + the worker lab-0 removed, through number 8194
          reply to 16391: IdentityRemoved
    "#]]);
}

#[test]
fn an_identity_that_the_journal_does_not_know_is_not_accepted() {
    let mut trace = Trace::new();
    trace.create_token(token(1, Role::Worker));
    trace.enrol(1, 1, "ann", 0xa1);
    trace.skip();
    trace.connect_as(1, hello(1, "bob", 1), identity(Role::Worker, 1, 2, "bob"));
    trace.connect_as(2, hello(2, "eve", 1), identity(Role::Worker, 0, 0, "eve"));
    trace.remove(Role::Worker, "bob");
    trace.remove(Role::Worker, "eve");
    trace.check(expect![[r#"
        0 > bob in session 1, holding 0
          close session 1: the worker was removed
        0 > eve in session 2, holding 0
          notice: eve joined with 1 slot
          to session 2: welcome eve to term 1
        0 > remove the worker bob
          reply to 3: Refused(NoSuchIdentity { role: Worker, name: "bob" })
        0 > remove the worker eve
          reply to 4: Refused(NoSuchIdentity { role: Worker, name: "eve" })
    "#]]);
}

#[test]
fn a_job_is_its_owners_and_the_admins() {
    let (ann, bob) = (TokenId::from_bits(1), TokenId::from_bits(2));
    let mut trace = Trace::new();
    trace.submit_for(ann, 1, &job(1, 1), Vec::new());
    trace.submit_for(ann, 2, &job(1, 1), Vec::new());
    trace.skip();
    // The same id and the same spec, and still another job.
    trace.submit_for(bob, 1, &job(1, 1), Vec::new());
    trace.submit_for(TokenId::LOCAL, 1, &job(1, 1), Vec::new());
    trace.submit_for(ann, 1, &job(1, 1), Vec::new());
    trace.cancel_by(Caller { role: Role::Client, token: bob }, 1);
    trace.cancel_by(Caller { role: Role::Worker, token: ann }, 1);
    trace.cancel_by(Caller { role: Role::Client, token: ann }, 1);
    trace.cancel_by(Caller { role: Role::Client, token: bob }, 1);
    trace.cancel_by(Caller { role: Role::Admin, token: bob }, 2);
    trace.check(expect![[r#"
        0 > submit 00000001
          reply to 3: Refused(AnotherSpec(00000001))
        0 > submit 00000001
          reply to 4: Refused(AnotherSpec(00000001))
        0 > submit 00000001
          reply to 5: Submitted
        0 > cancel 00000001
          reply to 6: Refused(NotYours(00000001))
        0 > cancel 00000001
          reply to 7: Refused(NotYours(00000001))
        0 > cancel 00000001
          + job 00000001 cancelled
          reply to 8: Ended(Cancelled)
        0 > cancel 00000001
          reply to 9: Refused(NotYours(00000001))
        0 > cancel 00000002
          + job 00000002 cancelled
          reply to 10: Ended(Cancelled)
    "#]]);
}
