//! The queue: how many orders are in it, who works on them, and whether it is paused.

pub(crate) mod view;

use std::sync::Arc;

use poem::web::{Data, RemoteAddr};
use poem_openapi::OpenApi;

use self::view::{PauseState, QueueState};
use crate::app::App;
use crate::edge::{Action, log_action};
use crate::problems::Problem;
use crate::wire::json::Json;
use crate::wire::tags::Tag;

/// The operations on the queue.
pub(crate) struct QueueApi;

#[OpenApi]
impl QueueApi {
    /// Read the queue
    #[oai(path = "/queue", method = "get", operation_id = "get_queue", tag = "Tag::Queue")]
    async fn get_queue(&self, app: Data<&Arc<App>>) -> Result<Json<QueueState>, Problem> {
        let report = app.queue.read().await.ok_or_else(Problem::internal)?.map_err(|error| Problem::from(&*error))?;
        Ok(Json::new(&QueueState::new(report.queue.clone(), app.version)))
    }

    /// Pause the queue
    ///
    /// From the answer on, workers claim no order until the queue is resumed, even if processes restart. Orders that
    /// are being processed are finished. Pausing again changes nothing.
    #[oai(path = "/queue/pause", method = "post", operation_id = "pause_queue", tag = "Tag::Queue")]
    async fn pause_queue(&self, client: &RemoteAddr, app: Data<&Arc<App>>) -> Result<Json<PauseState>, Problem> {
        let client = client.clone();
        let paused_at = app
            .ask(async move |store| {
                let paused = store.pause().await;
                log_action(Action::Pause, &client, paused.as_ref().map(|_| "done".to_owned()));
                paused
            })
            .await?;
        Ok(Json::new(&PauseState::new(Some(paused_at))))
    }

    /// Resume the queue
    ///
    /// Workers claim orders again. Resuming again changes nothing.
    #[oai(path = "/queue/resume", method = "post", operation_id = "resume_queue", tag = "Tag::Queue")]
    async fn resume_queue(&self, client: &RemoteAddr, app: Data<&Arc<App>>) -> Result<Json<PauseState>, Problem> {
        let (client, wakeup) = (client.clone(), app.wakeup.clone());
        app.ask(async move |store| {
            let resumed = store.resume().await.inspect(|()| wakeup.notify());
            log_action(Action::Resume, &client, resumed.as_ref().map(|()| "done".to_owned()));
            resumed
        })
        .await?;
        Ok(Json::new(&PauseState::new(None)))
    }
}
