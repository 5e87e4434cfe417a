//! Where a payment can stand, and the events that lead there.

use a4co_core::gateway::GatewayOperation;
use a4co_core::payment::{PaymentEvent, PaymentFailure, PaymentParticipant, RefundOrigin};

use crate::closed;
use crate::common::Host;
use crate::common::facts::{
    TOTAL_MINOR, attempted, parked, payment_cancelled, payment_event, payment_processing,
    payment_succeeded, refund_requested, refunded,
};

closed!(
    /// Where the payment of an order of three euros can stand.
    pub(crate) State {
        Unknown,
        Charging,
        /// Charged as often as it may be: from here on it only asks.
        Asking,
        /// Given up at its deadline.
        Cancelling,
        CancellingParked,
        /// Undone by the order.
        CancellingUndone,
        Captured,
        /// Nothing was to be paid.
        CapturedFree,
        /// An operator wants one euro back.
        PartOwed,
        /// An operator got one euro back.
        PartRefunded,
        /// An operator's refund was refused.
        PartRefused,
        /// An operator gave all of it back.
        AllRefunded,
        /// Undone by the order: all of it is owed back.
        UndoneOwed,
        UndoneParked,
        /// As `PartOwed`, then undone: one euro and two are owed back.
        PartOwedUndone,
        Undone,
        Declined,
        TimedOut,
        /// Undone before it was asked for.
        Tombstone,
        /// Captured after it was given up.
        CapturedLate,
        /// The customer has to authenticate.
        AwaitsCustomer,
        /// The money is set aside.
        Authorised,
        /// The order is confirmed, and the money is to be taken.
        Capturing,
        CapturingParked,
        /// The gateway does not give what it had set aside.
        CaptureFailed,
        /// An operator has seen to that.
        WrittenOff,
    }
);

/// A participant that has decided all that leads there.
pub(crate) fn host(state: State) -> Host<PaymentParticipant> {
    use RefundOrigin::{Compensation, Operator};
    let charging = || vec![payment_processing(TOTAL_MINOR)];
    let captured = |then: Vec<PaymentEvent>| {
        let paid = vec![payment_processing(TOTAL_MINOR), payment_succeeded()];
        [paid, then].concat()
    };
    let after = |mut events: Vec<PaymentEvent>, then: Vec<PaymentEvent>| {
        events.extend(then);
        events
    };
    let undo = || payment_event("UndoRequested");
    let part = || refund_requested(1, 100, Operator);
    let whole = || refund_requested(1, 300, Compensation);
    let capturing = |then: Vec<PaymentEvent>| {
        let asked = vec![
            payment_event("Authorised"),
            payment_event("CaptureRequested"),
        ];
        [asked, then].concat()
    };
    let give_up = || vec![payment_event("CancelRequested")];
    let refund_number_one = GatewayOperation::Refund { number: 1 };
    let events = match state {
        State::Unknown => vec![],
        State::Charging => charging(),
        State::Asking => after(charging(), vec![attempted(GatewayOperation::Charge, 3)]),
        State::Cancelling => after(charging(), give_up()),
        State::CancellingParked => after(
            after(charging(), give_up()),
            vec![
                attempted(GatewayOperation::Cancel, 8),
                parked(GatewayOperation::Cancel),
            ],
        ),
        State::CancellingUndone => after(charging(), vec![undo()]),
        State::Captured => captured(vec![]),
        State::CapturedFree => vec![payment_processing(0), payment_succeeded()],
        State::PartOwed => captured(vec![part()]),
        State::PartRefunded => captured(vec![part(), refunded(1, 100, false)]),
        State::PartRefused => captured(vec![part(), payment_event("RefundFailed")]),
        State::AllRefunded => captured(vec![
            refund_requested(1, 300, Operator),
            refunded(1, 300, true),
        ]),
        State::UndoneOwed => captured(vec![undo(), whole()]),
        State::UndoneParked => captured(vec![
            undo(),
            whole(),
            attempted(refund_number_one, 8),
            parked(refund_number_one),
        ]),
        State::PartOwedUndone => {
            captured(vec![part(), undo(), refund_requested(2, 200, Compensation)])
        }
        State::Undone => captured(vec![undo(), whole(), refunded(1, 300, true)]),
        State::Declined => after(charging(), vec![payment_event("Failed")]),
        State::TimedOut => after(
            after(charging(), give_up()),
            vec![payment_cancelled(PaymentFailure::TimedOut)],
        ),
        State::Tombstone => vec![payment_event("Forestalled")],
        State::CapturedLate => after(
            charging(),
            vec![
                payment_event("Failed"),
                payment_event("CapturedLate"),
                whole(),
            ],
        ),
        State::AwaitsCustomer => after(
            charging(),
            vec![
                payment_event("ActionRequired"),
                attempted(GatewayOperation::Charge, 3),
            ],
        ),
        State::Authorised => after(charging(), vec![payment_event("Authorised")]),
        State::Capturing => after(charging(), capturing(vec![])),
        State::CaptureFailed => after(charging(), capturing(vec![payment_event("CaptureFailed")])),
        State::WrittenOff => after(
            charging(),
            capturing(vec![
                payment_event("CaptureFailed"),
                payment_event("WrittenOff"),
            ]),
        ),
        State::CapturingParked => after(
            charging(),
            capturing(vec![
                attempted(GatewayOperation::Capture, 8),
                parked(GatewayOperation::Capture),
            ]),
        ),
    };
    Host::default().with(events)
}
