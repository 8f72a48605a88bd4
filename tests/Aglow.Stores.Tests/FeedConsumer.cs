using System.Collections.Concurrent;
using System.Net;
using System.Text.Json.Nodes;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>A backend that follows the feed through any node that answers, and applies each change.</summary>
internal sealed class FeedConsumer : IAsyncDisposable
{
    private readonly Func<IReadOnlyList<AglowProcess>> _nodes;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<JsonNode> _changes = new();
    private readonly Task _loop;
    private string _after;

    private FeedConsumer(Func<IReadOnlyList<AglowProcess>> nodes, string after)
    {
        (_nodes, _after) = (nodes, after);
        _loop = Task.Run(RunAsync);
    }

    /// <summary>All changes that it received, in order.</summary>
    public IReadOnlyList<JsonNode> Changes => [.. _changes];

    /// <summary>Pages that reported missing changes before them.</summary>
    public int Gaps { get; private set; }

    /// <summary>The changes of a user that it received: "true heartbeat", "false leave", …</summary>
    public string[] Of(object user) =>
    [
        .. _changes.Where(change => change["user_id"]!.ToString() == $"{user}")
            .Select(static change => $"{change["is_online"]} {change["reason"]}"),
    ];

    /// <summary>Whether a user is online by the changes received; <paramref name="before"/> if there were none.</summary>
    public bool IsOnline(object user, bool before = false) =>
        Of(user) is [.., var last] ? last.StartsWith("true ", StringComparison.Ordinal) : before;

    /// <summary>Begins at the end of the feed.</summary>
    public static async Task<FeedConsumer> FollowAsync(params AglowProcess[] nodes) => await FollowAsync(() => nodes);

    public static async Task<FeedConsumer> FollowAsync(Func<IReadOnlyList<AglowProcess>> nodes) =>
        From(nodes, (await nodes()[0].GetAsync("/changes?after=latest")).Json["next"]!.GetValue<string>());

    /// <summary>Begins after a change.</summary>
    public static FeedConsumer From(Func<IReadOnlyList<AglowProcess>> nodes, string after) => new(nodes, after);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        for (var turn = 0; !_stop.IsCancellationRequested; turn++)
        {
            var nodes = _nodes();
            try
            {
                using var answer = await nodes[turn % nodes.Count].Http.GetAsync($"/changes?wait=2&after={_after}", _stop.Token);
                if (answer.StatusCode != HttpStatusCode.OK)
                {
                    await Task.Delay(100, _stop.Token);
                    continue;
                }

                var page = JsonNode.Parse(await answer.Content.ReadAsStringAsync(_stop.Token))!;
                Gaps += page["gap"]!.GetValue<bool>() ? 1 : 0;
                foreach (var change in page["changes"]!.AsArray())
                    _changes.Enqueue(change!.DeepClone());
                _after = page["next"]!.GetValue<string>();
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException or ObjectDisposedException)
            {
                // try the next node
            }
        }
    }
}
