//! What is asked once in an operation: what the names of a shape stand for, say.
//!
//! In: a text that tells questions apart, and how the cloud is asked. Out: the answer, and the same
//! one the next time.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{Answered, CloudError};

/// The answer to the first question; whoever asks another one gets an answer of its own.
pub struct Once<T>(OnceCell<(String, Arc<T>)>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

impl<T> Once<T> {
    /// Keeps an answer that was had otherwise, where there is none yet.
    pub fn keep(&self, question: String, answer: T) {
        let _ = self.0.set((question, Arc::new(answer)));
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// Those of `ask`, and the next who asks asks again.
    pub async fn of<F: Future<Output = Answered<T>>>(
        &self,
        question: String,
        ask: impl Fn() -> F,
    ) -> Answered<Arc<T>> {
        let first = || async { Ok::<_, CloudError>((question.clone(), Arc::new(ask().await?))) };
        let (of, answer) = self.0.get_or_try_init(first).await?;
        match *of == question {
            true => Ok(Arc::clone(answer)),
            false => ask().await.map(Arc::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::Kind;
    use super::*;

    #[tokio::test]
    async fn a_question_is_asked_once_until_it_is_another_one() {
        let (once, asked) = (Once::default(), Cell::new(0));
        for (question, is_answered, expected) in [
            ("small", false, None),
            ("small", true, Some(2)),
            ("small", true, Some(2)),
            ("large", true, Some(3)),
            ("small", true, Some(2)),
        ] {
            let ask = || {
                asked.set(asked.get() + 1);
                let silent = || CloudError::new(Kind::Unavailable, "List", question, "nothing");
                std::future::ready(is_answered.then(|| asked.get()).ok_or_else(silent))
            };
            let answer = once.of(question.to_owned(), ask).await.ok();
            assert_eq!(answer.as_deref().copied(), expected, "{question}");
        }
    }
}
