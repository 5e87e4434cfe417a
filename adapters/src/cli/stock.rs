//! `a4co stock`: get, set, adjust.
//!
//! Apart from the client: here is what is asked, and how a product looks to people.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Exit;
use super::args::StockCommand;
use super::client::{Asked, Client, Failure, end};
use super::table::Table;

/// Carries out `a4co stock …`.
#[must_use]
pub fn run(command: &StockCommand, as_json: bool) -> Exit {
    end(carry_out(command, as_json), as_json)
}

fn carry_out(command: &StockCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        StockCommand::Get {
            product_id: Some(product_id),
            client,
        } => {
            let client = Client::new(&client.url)?;
            client
                .get(&["inventory", "products", product_id], &[])?
                .print(as_json, one)
        }
        StockCommand::Get {
            product_id: None,
            client,
        } => {
            let client = Client::new(&client.url)?;
            let answer = client.get(&["inventory", "products"], &[])?;
            answer.print(as_json, |page: &Page| table(&page.data))
        }
        StockCommand::Set {
            product_id,
            name,
            price,
            currency,
            on_hand,
            client,
        } => {
            let description = Description {
                name: name.as_deref(),
                price: price.as_deref().map(number).transpose()?,
                currency: currency.as_deref(),
                on_hand_quantity: *on_hand,
            };
            let body = json(&description)?;
            let client = Client::new(&client.url)?;
            client
                .put(&["inventory", "products", product_id], &body)?
                .print(as_json, one)
        }
        StockCommand::Adjust {
            product_id,
            delta,
            reason,
            key,
            client,
        } => {
            let body = json(&Adjustment {
                delta: *delta,
                reason,
            })?;
            let asked = Asked::under(key.idempotency_key.as_deref());
            let client = Client::new(&client.url)?;
            let path = ["inventory", "products", product_id, "adjustments"];
            client.post(&path, &body, &asked)?.print(as_json, one)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hand_quantity: Option<u64>,
}

#[derive(Serialize)]
struct Adjustment<'c> {
    delta: i64,
    reason: &'c str,
}

fn json(body: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(body).map_err(|error| Failure::Usage(error.to_string()))
}

/// A text that is a JSON number, to be sent digit by digit as it was typed.
fn number(text: &str) -> Result<Box<RawValue>, Failure> {
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let raw = RawValue::from_string(text.to_owned())
        .ok()
        .filter(|_| is_number);
    raw.ok_or_else(|| {
        Failure::Usage(format!(
            "the price {text} is not a number: write it as 29.99"
        ))
    })
}

/// A product, as far as people are shown it. The price stays the token that it came as.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    product_id: String,
    name: Option<String>,
    price: Option<Box<RawValue>>,
    currency: Option<String>,
    on_hand_quantity: u64,
    available_quantity: u64,
    reserved_quantity: u64,
    sold_quantity: u64,
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Product>,
}

fn one(product: &Product) -> String {
    table(std::slice::from_ref(product))
}

fn table(products: &[Product]) -> String {
    if products.is_empty() {
        return "No products.\n".to_owned();
    }
    let head = [
        "PRODUCT",
        "ON HAND",
        "AVAILABLE",
        "RESERVED",
        "SOLD",
        "PRICE",
        "",
        "NAME",
    ];
    let mut table = Table::new(&head, &[1, 2, 3, 4, 5]);
    for product in products {
        table.row([
            &product.product_id,
            &product.on_hand_quantity.to_string(),
            &product.available_quantity.to_string(),
            &product.reserved_quantity.to_string(),
            &product.sold_quantity.to_string(),
            product.price.as_ref().map_or("", |price| price.get()),
            product.currency.as_deref().unwrap_or(""),
            product.name.as_deref().unwrap_or(""),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_for_people() {
        let json = r#"[{"productId":"tea","name":"Tea","price":1.50,"currency":"EUR","onHandQuantity":5,
            "availableQuantity":3,"reservedQuantity":2,"soldQuantity":10},
            {"productId":"pot","onHandQuantity":1,"availableQuantity":1,"reservedQuantity":0,"soldQuantity":0}]"#;
        let products: Vec<Product> = serde_json::from_str(json).expect("products");
        let wanted = "\
PRODUCT  ON HAND  AVAILABLE  RESERVED  SOLD  PRICE       NAME
tea            5          3         2    10   1.50  EUR  Tea
pot            1          1         0     0
";
        assert_eq!(table(&products), wanted);
        assert_eq!(table(&[]), "No products.\n");
    }

    #[test]
    fn a_price_is_a_json_number_and_nothing_else() {
        for text in ["29.99", "0", "1e2"] {
            assert_eq!(number(text).expect("a number").get(), text);
        }
        for text in ["", "29,99", "\"1\"", "null", "[1]", "01", " 1"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
