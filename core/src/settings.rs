//! What may be configured in the core: timers, retries and bounds, checked as a whole.
//!
//! Settings are read once at start. Every deadline that they lead to is written
//! into an event, so that replaying a journal never depends on today's settings.

use crate::limits::FRAME_BYTES_SOFT_MAX;
use crate::shards::Shard;
use crate::time::Millis;

/// Timers, retry policy and bounds of the three participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From an order's creation until the saga gives up and undoes everything.
    pub saga_timeout_ms: Millis,
    /// From a reservation until its stock returns to the shelf; renewed when payment starts.
    pub hold_ms: Millis,
    /// From the request for payment until the charge is given up and cancelled.
    pub payment_timeout_ms: Millis,
    /// First wait after a gateway call with an unknown outcome; doubles from there.
    pub retry_first_ms: Millis,
    /// Longest wait between two attempts that are not parked.
    pub retry_cap_ms: Millis,
    /// Wait between two attempts once parked.
    pub parked_retry_ms: Millis,
    /// Attempts of one undo after which it is parked and shown to the operator.
    pub park_after_attempts: u32,
    /// Charges tried under one idempotency key before the gateway is only queried.
    pub charge_attempts: u32,
    /// Orders that may be active at once; further ones are refused as overloaded.
    pub max_active_orders: usize,
    /// Bytes that a participant lets what it has decided grow to before it is committed. A
    /// single input may pass this by what it decides.
    pub frame_bytes_soft_max: usize,
    /// Which shard the participant is. Not configured: whoever builds the host says it.
    pub shard: Shard,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            saga_timeout_ms: Millis::new(5 * 60_000),
            hold_ms: Millis::new(15 * 60_000),
            payment_timeout_ms: Millis::new(2 * 60_000),
            retry_first_ms: Millis::new(200),
            retry_cap_ms: Millis::new(30_000),
            parked_retry_ms: Millis::new(5 * 60_000),
            park_after_attempts: 8,
            charge_attempts: 3,
            max_active_orders: 1_000_000,
            frame_bytes_soft_max: FRAME_BYTES_SOFT_MAX,
            shard: Shard::ALONE,
        }
    }
}

/// A contradiction between settings; nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A hold that ends while the saga may still complete could sell the stock twice over.
    #[error(
        "the reservation hold ({hold_ms} ms) must outlast the saga timeout ({saga_timeout_ms} ms): raise the hold or lower the saga timeout"
    )]
    HoldShorterThanSaga {
        /// The configured hold.
        hold_ms: u64,
        /// The configured saga timeout.
        saga_timeout_ms: u64,
    },
    /// A payment that may outlive its saga would always be undone by the saga's timer.
    #[error(
        "the saga timeout ({saga_timeout_ms} ms) must outlast the payment timeout ({payment_timeout_ms} ms): raise the saga timeout or lower the payment timeout"
    )]
    SagaShorterThanPayment {
        /// The configured saga timeout.
        saga_timeout_ms: u64,
        /// The configured payment timeout.
        payment_timeout_ms: u64,
    },
    /// A count or a time that must be above zero.
    #[error("{name} must be above zero")]
    Zero {
        /// The setting's name.
        name: &'static str,
    },
}

impl Settings {
    /// Checks the relations that the saga's safety rests on.
    ///
    /// # Errors
    /// The first contradiction found, naming the values and what to change.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let positive = [
            ("saga_timeout_ms", self.saga_timeout_ms.get()),
            ("payment_timeout_ms", self.payment_timeout_ms.get()),
            ("retry_first_ms", self.retry_first_ms.get()),
            ("retry_cap_ms", self.retry_cap_ms.get()),
            ("parked_retry_ms", self.parked_retry_ms.get()),
            ("park_after_attempts", u64::from(self.park_after_attempts)),
            ("charge_attempts", u64::from(self.charge_attempts)),
            ("max_active_orders", self.max_active_orders as u64),
            ("frame_bytes_soft_max", self.frame_bytes_soft_max as u64),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(SettingsError::Zero { name });
        }
        // `<=` and not `<`: a hold that ends in the same millisecond as the saga's
        // timer would make the order of the two timers decide.
        if self.hold_ms.get() <= self.saga_timeout_ms.get() {
            return Err(SettingsError::HoldShorterThanSaga {
                hold_ms: self.hold_ms.get(),
                saga_timeout_ms: self.saga_timeout_ms.get(),
            });
        }
        if self.saga_timeout_ms.get() <= self.payment_timeout_ms.get() {
            return Err(SettingsError::SagaShorterThanPayment {
                saga_timeout_ms: self.saga_timeout_ms.get(),
                payment_timeout_ms: self.payment_timeout_ms.get(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn a_hold_that_does_not_outlast_the_saga_is_refused() {
        for hold in [0, 299_999, 300_000] {
            let settings = Settings {
                hold_ms: Millis::new(hold),
                ..Settings::default()
            };
            assert!(matches!(
                settings.validate(),
                Err(SettingsError::HoldShorterThanSaga { .. })
            ));
        }
        let just_enough = Settings {
            hold_ms: Millis::new(300_001),
            ..Settings::default()
        };
        assert_eq!(just_enough.validate(), Ok(()));
    }

    #[test]
    fn zero_is_named() {
        let settings = Settings {
            park_after_attempts: 0,
            ..Settings::default()
        };
        assert_eq!(
            settings.validate(),
            Err(SettingsError::Zero {
                name: "park_after_attempts"
            })
        );
    }
}
