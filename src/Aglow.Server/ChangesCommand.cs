using System.CommandLine;
using System.Text.Json;

namespace Aglow.Server;

/// <summary><c>changes</c>: prints the feed of a running server, one line of JSON per change.</summary>
internal static class ChangesCommand
{
    private const int WaitSeconds = 30;
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    public static Command Create()
    {
        // --server as in `webhooks`, where --url is the receiver's
        var remote = RemoteServer.Options();
        remote.Url.Aliases.Add("--url");
        var follow = new Option<bool>("--follow") { Description = "Prints new changes too, until the command is stopped." };
        var after = CommandLine.Text(
            "--after", "CURSOR", "Starts after this change: its \"id\", or \"latest\". Default: starts with the oldest that the feed has.");
        var definition = CommandLine.Text("--definition", "NAME", "The definition of online: only chat.");
        var command = new Command(
            "changes",
            "Prints each user who comes online, goes offline or changes status, as a line of JSON; {\"gap\":true} where changes are lost.")
        {
            remote.Url, remote.Key, follow, after, definition,
        };
        command.SetAction(async (parsed, stop) =>
        {
            using var server = RemoteServer.Of(parsed, remote);
            try
            {
                await PrintAsync(server, parsed.GetValue(follow), parsed.GetValue(after), parsed.GetValue(definition), stop);
            }
            catch (Exception e) when (e is OperationCanceledException or IOException)
            {
                // stopped, or the reader of the lines has ended
            }
        });
        return command;
    }

    private static (bool IsGap, string[] Changes, string Next) Read(JsonElement? page) =>
        page is { } root && root.GetProperty("next").GetString() is { } next
            ? (root.GetProperty("gap").GetBoolean(), [.. root.GetProperty("changes").EnumerateArray().Select(c => c.GetRawText())], next)
            : throw new KeyNotFoundException();

    private static async Task PrintAsync(
        RemoteServer server, bool follow, string? after, string? definition, CancellationToken stop)
    {
        var isReached = false;
        while (true)
        {
            var from = after is null ? "" : $"&after={Uri.EscapeDataString(after)}";
            var under = definition is null ? "" : $"&definition={Uri.EscapeDataString(definition)}";
            // the first answer comes at once: it says whether the server can be reached, and where the feed is
            var query = $"changes?limit=1000{(follow && isReached ? $"&wait={WaitSeconds}" : "")}{from}{under}";
            try
            {
                (var isGap, var changes, after) = await server.ReadAsync(HttpMethod.Get, query, default, Read, stop);
                isReached = true;
                if (isGap)
                    await Console.Out.WriteLineAsync("{\"gap\":true}");
                foreach (var change in changes)
                    await Console.Out.WriteLineAsync(change);
                await Console.Out.FlushAsync(stop);
                if (!follow && changes.Length == 0)
                    return;
            }
            catch (UnreachableException failure) when (follow && isReached)
            {
                // a restarted server continues with the next change
                await Console.Error.WriteLineAsync($"aglow: {failure.Message}");
                await Task.Delay(RetryAfter + (RetryAfter * Random.Shared.NextDouble()), TimeProvider.System, stop);
            }
        }
    }
}
