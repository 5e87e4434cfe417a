//! The products that a new data folder gets, so that there is something to order.

use std::sync::Arc;

use a4co_core::ids::ProductId;
use a4co_core::inventory::Price;
use a4co_core::money::Currency;

/// A product of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoProduct {
    /// Which product.
    pub product_id: ProductId,
    /// For people.
    pub name: Arc<str>,
    /// Of one unit.
    pub price: Price,
    /// Units on hand.
    pub on_hand: u64,
}

/// Id, name, price in euros, units.
const PRODUCTS: [(&str, &str, &str, u64); 8] = [
    ("coffee-beans-1kg", "Coffee beans, 1 kg", "18.90", 500),
    ("espresso-cup", "Espresso cup", "6.50", 1_200),
    ("hand-grinder", "Hand grinder", "49.00", 80),
    ("pour-over-kit", "Pour-over kit", "34.95", 60),
    ("kettle-gooseneck", "Gooseneck kettle", "79.00", 25),
    ("filter-papers-100", "Filter papers, 100", "4.20", 3_000),
    ("milk-frother", "Milk frother", "24.50", 40),
    ("espresso-machine", "Espresso machine", "649.00", 3),
];

/// The catalogue.
pub fn products() -> impl Iterator<Item = DemoProduct> {
    PRODUCTS
        .into_iter()
        .filter_map(|(id, name, price, on_hand)| {
            let amount = Currency::EUR.parse_amount(price).ok()?;
            Some(DemoProduct {
                product_id: ProductId::parse(id).ok()?,
                name: Arc::from(name),
                price: Price {
                    amount,
                    currency: Currency::EUR,
                },
                on_hand,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_of_the_catalogue_is_valid() {
        assert_eq!(products().count(), PRODUCTS.len());
    }
}
