//! The order participant's state at rest, in a snapshot.
//!
//! Two maps, as it was before there were shards. Where the stock of orders stands, which
//! only an order shard knows, is one more row of the first, before all others and under the
//! last of all ids, which is no order's there.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Order, OrderState};
use crate::ids::OrderId;
use crate::shards::StockProgress;

/// What stands in an order's place before where the stock of orders stands.
const STOCK: OrderId = OrderId::from_bytes([0xFF; 16]);

/// The first of the two maps.
#[derive(Default)]
struct Rows {
    orders: BTreeMap<OrderId, Box<Order>>,
    stock: BTreeMap<OrderId, StockProgress>,
}

struct RowsOf<'s>(&'s OrderState);

impl Serialize for RowsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (orders, stock) = (&self.0.orders, &self.0.stock);
        let is_first = orders.first_key_value().is_some_and(|(id, _)| *id == STOCK);
        let has_stock = !stock.is_empty() || is_first;
        let mut map = serializer.serialize_map(Some(orders.len() + usize::from(has_stock)))?;
        if has_stock {
            map.serialize_entry(&STOCK, stock)?;
        }
        for (order_id, order) in orders {
            map.serialize_entry(order_id, order)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("orders by their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
                let mut rows = Rows::default();
                let mut is_first = true;
                while let Some(order_id) = map.next_key::<OrderId>()? {
                    if core::mem::take(&mut is_first) && order_id == STOCK {
                        rows.stock = map.next_value()?;
                    } else {
                        rows.orders.insert(order_id, map.next_value()?);
                    }
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for OrderState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&RowsOf(self))?;
        tuple.serialize_element(&self.answers)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for OrderState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> Visitor<'de> for Maps {
            type Value = OrderState;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the state of the order participant")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut maps: A) -> Result<OrderState, A::Error> {
                let missing = |at| A::Error::invalid_length(at, &"two maps");
                let Rows { orders, stock } = maps.next_element()?.ok_or_else(|| missing(0))?;
                let answers = maps.next_element()?.ok_or_else(|| missing(1))?;
                Ok(OrderState {
                    orders,
                    answers,
                    stock,
                })
            }
        }
        deserializer.deserialize_tuple(2, Maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, encode};

    #[test]
    fn without_shards_it_is_two_maps_and_with_them_nothing_is_lost() {
        let mut state = OrderState::default();
        let nothing: BTreeMap<OrderId, Box<Order>> = BTreeMap::new();
        assert_eq!(encode(&state), encode(&(&nothing, &state.answers)));
        let order_id = OrderId::from_bytes([7; 16]);
        state.stock.insert(order_id, StockProgress::default());
        assert_eq!(decode(&encode(&state)), Ok(state));
    }
}
