//! Tests of the public events' codec: round trips, and any bytes.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn read(headers: &[(&'static str, String)], body: &[u8]) -> Result<PublicEvent, EventError> {
    let headers: HashMap<&str, &str> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    PublicEvent::decode(|name| headers.get(name).copied(), body)
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(any::<String>())
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (any::<String>(), any::<u64>(), any::<Option<i64>>());
    let item = item.prop_map(|(product_id, quantity, unit_price_minor)| Item {
        product_id,
        quantity,
        unit_price_minor,
    });
    proptest::collection::vec(item, 0..4)
}

prop_compose! {
    fn events()(
        kind in proptest::sample::select(Kind::ALL),
        id in "[a-z0-9-]{1,60}",
        ms in 0..4_000_000_000_000_u64,
        order in any::<[u8; 16]>(),
        (customer_id, reason, currency, traceparent) in (text(), text(), text(), text()),
        items in items(),
        amount_minor in any::<Option<i64>>(),
        refund_number in any::<Option<u32>>(),
    ) -> PublicEvent {
        let order_id = OrderId::from_bytes(order);
        let data = Body {
            order_id: order_id.to_string(),
            customer_id,
            items,
            amount_minor,
            currency,
            reason,
            refund_number,
            ..Body::default()
        };
        let at = Timestamp::from_unix_ms(ms);
        PublicEvent { id, kind, at, order_id, traceparent, data }
    }
}

proptest! {
    #[test]
    fn an_event_survives_the_bus(event in events()) {
        prop_assert_eq!(read(&event.headers(), &event.body()), Ok(event));
    }

    #[test]
    fn any_bytes_are_an_event_or_an_error(
        event in events(),
        spoilt in 0..7_usize,
        with in any::<String>(),
        body in any::<Vec<u8>>(),
    ) {
        let mut headers = event.headers();
        headers[spoilt].1 = with;
        let _ = read(&headers, &event.body());
        prop_assert!(read(&event.headers(), &body).is_err());
    }
}

#[test]
fn each_header_is_needed_and_kinds_are_distinct() {
    let event = PublicEvent {
        id: "order-1".to_owned(),
        kind: Kind::OrderCreated,
        at: Timestamp::from_unix_ms(1),
        order_id: OrderId::from_bytes([7; 16]),
        traceparent: None,
        data: Body {
            order_id: OrderId::from_bytes([7; 16]).to_string(),
            ..Body::default()
        },
    };
    for left_out in 0..6 {
        let mut headers = event.headers();
        let (name, _) = headers.remove(left_out);
        assert_eq!(
            read(&headers, &event.body()),
            Err(EventError::Missing(name))
        );
    }
    for kind in Kind::ALL {
        let prefix = kind.stream().subjects().trim_end_matches('>');
        assert!(kind.subject().starts_with(prefix), "{kind:?}");
        let same = Kind::ALL.iter().filter(|it| it.subject() == kind.subject());
        assert_eq!(same.count(), 1, "{kind:?}");
    }
}
