using System.CommandLine;

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

    private static async Task PrintAsync(
        RemoteServer server, bool follow, string? after, string? definition, CancellationToken stop)
    {
        var isReached = false;
        while (true)
        {
            var from = after is null ? "" : $"&after={Uri.EscapeDataString(after)}";
            var under = definition is null ? "" : $"&definition={Uri.EscapeDataString(definition)}";
            var query = $"changes?limit=1000{(follow ? $"&wait={WaitSeconds}" : "")}{from}{under}";
            try
            {
                using var page = await server.CallAsync(HttpMethod.Get, query, cancel: stop);
                isReached = true;
                var root = page!.RootElement;
                if (root.GetProperty("gap").GetBoolean())
                    await Console.Out.WriteLineAsync("{\"gap\":true}");
                foreach (var change in root.GetProperty("changes").EnumerateArray())
                    await Console.Out.WriteLineAsync(change.GetRawText());
                await Console.Out.FlushAsync(stop);
                after = root.GetProperty("next").GetString();
                if (!follow && root.GetProperty("changes").GetArrayLength() == 0)
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
