using System.Buffers;
using System.CommandLine;
using System.Text.Json;

namespace Aglow.Server;

/// <summary><c>webhooks add|list|remove|test|pause|resume|rotate|log</c>: the webhooks of a running server.</summary>
internal static class WebhooksCommand
{
    public static Command Create()
    {
        // --url is the receiver's address in these commands
        var server = RemoteServer.Options();
        var id = new Argument<string>("id") { Description = "The ID of the webhook, as list prints it.", HelpName = "ID" };
        var url = CommandLine.Text(
            "--url", "URL", "The address that receives the changes: https, or http on this machine if the server listens on loopback only.",
            isRequired: true);
        var events = CommandLine.Text(
            "--events", "EVENT,…", "The events to send: online, offline, status; separated by commas. Default: all.");
        var prefix = CommandLine.Text("--users-prefix", "TEXT", "Only changes of users whose ID begins with this.");
        var definition = CommandLine.Text("--definition", "NAME", "The definition of online: only chat.");
        var overlap = new Option<int>("--overlap-hours")
        {
            Description = "For how many hours the previous secret still signs.",
            HelpName = "N",
            DefaultValueFactory = static _ => 24
        };

        return new Command("webhooks",
            "Sends changes to a backend over HTTP: the webhooks of a running server. The key needs the scope operate.")
        {
            On(new Command("add", "Adds a webhook and prints it with its secret. The secret cannot be printed again.") { url, events,
                prefix, definition }, (parsed, call) =>
                call(HttpMethod.Post, "webhooks", Json(writer =>
                {
                    writer.WriteString("url", parsed.GetRequiredValue(url));
                    if (parsed.GetValue(events) is { } some)
                    {
                        writer.WriteStartArray("events");
                        foreach (var one in some.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                            writer.WriteStringValue(one);
                        writer.WriteEndArray();
                    }

                    if (parsed.GetValue(prefix) is { } begin)
                        writer.WriteString("users_prefix", begin);
                    if (parsed.GetValue(definition) is { } under)
                        writer.WriteString("definition", under);
                }))),
            On(new Command("list", "Lists the webhooks, one line of JSON each."), static (_, call) =>
                call(HttpMethod.Get, "webhooks", default)),
            On(new Command("remove", "Removes a webhook.") { id }, (parsed, call) => call(HttpMethod.Delete, Path(parsed), default)),
            On(new Command("test", "Sends one test request and prints its outcome.") { id }, (parsed, call) =>
                call(HttpMethod.Post, Path(parsed, "/test"), default)),
            On(new Command("pause", "Stops sending until the webhook is resumed.") { id }, (parsed, call) =>
                call(HttpMethod.Post, Path(parsed, "/pause"), default)),
            On(new Command("resume", "Continues where the webhook stopped, and retries waiting requests at once.") { id },
                (parsed, call) => call(HttpMethod.Post, Path(parsed, "/resume"), default)),
            On(new Command("rotate", "Creates a new secret and prints it. The previous secret still signs for some time.") { id, overlap },
                (parsed, call) =>
                call(HttpMethod.Post, Path(parsed, "/rotate"),
                    Json(writer => writer.WriteNumber("overlap_hours", parsed.GetValue(overlap))))),
            On(new Command("log", "Prints the newest 100 requests, one line of JSON each, the newest last.") { id }, (parsed, call) =>
                call(HttpMethod.Get, Path(parsed, "/log"), default)),
        };

        string Path(ParseResult parsed, string then = "") => $"webhooks/{Uri.EscapeDataString(parsed.GetRequiredValue(id))}{then}";

        Command On(Command command, Func<ParseResult, Func<HttpMethod, string, byte[]?, Task<int>>, Task<int>> run)
        {
            command.Options.Add(server.Url);
            command.Options.Add(server.Key);
            command.SetAction(async (parsed, stop) =>
            {
                using var remote = RemoteServer.Of(parsed, server);
                return await run(parsed, (method, path, json) => remote.ReadAsync(method, path, json, Print, stop));
            });
            return command;
        }
    }

    // Prints a list as one line per item. Returns the exit code: of a test, whether the receiver acknowledged it.
    private static int Print(JsonElement? answer)
    {
        if (answer is not { } root)
            return CommandLine.Fine;
        if (root.TryGetProperty("webhooks", out var list) || root.TryGetProperty("deliveries", out list))
        {
            foreach (var one in list.EnumerateArray())
                Console.Out.WriteLine(one.GetRawText());
            return CommandLine.Fine;
        }

        var code = root.TryGetProperty("acknowledged", out var acknowledged) && !acknowledged.GetBoolean()
            ? CommandLine.Failed
            : CommandLine.Fine;
        Console.Out.WriteLine(root.GetRawText());
        return code;
    }

    private static byte[] Json(Action<Utf8JsonWriter> members)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(buffer);
        writer.WriteStartObject();
        members(writer);
        writer.WriteEndObject();
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }
}
