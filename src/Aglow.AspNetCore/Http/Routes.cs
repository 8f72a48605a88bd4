namespace Aglow.AspNetCore.Http;

/// <summary>Owns the paths, query parameters and content types.</summary>
internal static class Routes
{
    public const string Heartbeat = "/heartbeat";
    public const string Offline = "/offline";
    public const string StatusUpdate = "/status/update";
    public const string Status = "/status/{user}";
    public const string StatusOfOne = "/status";
    public const string StatusOfUsers = "/status/users";
    public const string StatusBatch = "/status/batch";
    public const string Explain = "/status/{user}/explain";
    public const string Users = "/users";
    public const string User = "/users/{user}";
    public const string UsersBatch = "/users/batch";
    public const string Revoke = "/users/{user}/revoke";
    public const string Access = "/users/{user}/access";
    public const string Claims = "/users/{user}/status";
    public const string QuietHours = "/users/{user}/quiet-hours";
    public const string Subscriptions = "/users/{user}/subscriptions";
    public const string Visibility = "/users/{user}/visibility";
    public const string Approved = "/users/{user}/approved";
    public const string Waiting = "/users/{user}/waiting";
    public const string Blocked = "/users/{user}/blocked";
    public const string Online = "/online";
    public const string OnlineCount = "/online/count";
    public const string Reach = "/reach";
    public const string Changes = "/changes";
    public const string Webhooks = "/webhooks";
    public const string Webhook = "/webhooks/{webhook}";
    public const string WebhookTest = "/webhooks/{webhook}/test";
    public const string WebhookPause = "/webhooks/{webhook}/pause";
    public const string WebhookResume = "/webhooks/{webhook}/resume";
    public const string WebhookRotate = "/webhooks/{webhook}/rotate";
    public const string WebhookLog = "/webhooks/{webhook}/log";
    public const string Watch = "/watch";
    public const string Socket = "/ws";
    public const string Live = "/health/live";
    public const string Ready = "/health/ready";
    public const string Metrics = "/metrics";
    public const string OpenApi = "/openapi/v1.json";
    public const string Reference = "/docs";

    /// <summary>The name of the path or query parameter with the user.</summary>
    public const string UserParameter = "user";

    /// <summary>Stands in a path for the user that <c>?user=</c> names.</summary>
    public const string UserInQuery = "-";

    /// <summary>The name of the path parameter with the webhook.</summary>
    public const string WebhookParameter = "webhook";

    public const string IdsQuery = "ids";
    public const string WatchedQuery = "users";
    public const string DefinitionQuery = "definition";
    public const string LimitQuery = "limit";
    public const string CursorQuery = "cursor";
    public const string AfterQuery = "after";
    public const string WaitQuery = "wait";
    public const string SearchQuery = "q";
    public const string SourceQuery = "source";
    public const string ViewerQuery = "viewer";
    public const string TokenQuery = "access_token";
    public const string UserQuery = "user_id";
    public const string DeviceIdQuery = "device_id";
    public const string DeviceKindQuery = "device_kind";

    public const string Json = "application/json";
    public const string ProblemJson = "application/problem+json";
    public const string EventStream = "text/event-stream";
    public const string Packed = "application/octet-stream";
    public const string PrometheusText = "text/plain; version=0.0.4; charset=utf-8";
}
