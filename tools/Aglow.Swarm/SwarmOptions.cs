using System.CommandLine;
using System.Globalization;

namespace Aglow.Swarm;

/// <summary>The command line.</summary>
internal sealed record SwarmOptions
{
    /// <summary>How many IDs of no user are read, besides those of all users.</summary>
    public const int NumbersOfNobody = 100_000;

    public required IReadOnlyList<Uri> Urls { get; init; }

    public required int People { get; init; }

    public required double Seconds { get; init; }

    public required int Seed { get; init; }

    /// <summary>The user ID of the first person; the others follow.</summary>
    public required uint First { get; init; }

    /// <summary>The number of active users who send packed heartbeats; 0: a run of people.</summary>
    public required uint Bulk { get; init; }

    /// <summary>The number of registered users, among whom the active ones come and go.</summary>
    public required uint Registered { get; init; }

    /// <summary>How long each user is active.</summary>
    public required double SessionSeconds { get; init; }

    /// <summary>Sockets that watch.</summary>
    public required int Watchers { get; init; }

    /// <summary>How many users each of them watches.</summary>
    public required int Watch { get; init; }

    /// <summary>The server's setting for away; 0: not known.</summary>
    public required double AwaySeconds { get; init; }

    /// <summary>Whether people are renamed, signed out everywhere and deleted. They come back afterwards.</summary>
    public required bool ChangesAccounts { get; init; }

    /// <summary>Whether people set statuses with texts and ends, by several sources.</summary>
    public required bool SetsClaims { get; init; }

    /// <summary>Whether devices are named, each with a kind of its own.</summary>
    public required bool NamesDevices { get; init; }

    /// <summary>Whether a backend follows the feed of changes.</summary>
    public required bool FollowsFeed { get; init; }

    /// <summary>The port on which a backend receives a webhook; 0: none.</summary>
    public required int WebhookPort { get; init; }

    /// <summary>For how long the receiver of the webhook is down.</summary>
    public required double ReceiverDownSeconds { get; init; }

    /// <summary>For how long the receiver of the webhook is slow.</summary>
    public required double ReceiverSlowSeconds { get; init; }

    /// <summary>A time at the end in which people neither come nor go.</summary>
    public required double QuietSeconds { get; init; }

    /// <summary>Whether somebody disturbs the deployment during the run, so that changes that need a notification may be late.</summary>
    public required bool IsDisturbed { get; init; }

    /// <summary>The number of people of each real client (.NET, JavaScript), besides the others.</summary>
    public required int Clients { get; init; }

    public required string? Report { get; init; }

    public required string? Json { get; init; }

    /// <summary>A user ID that no user of the run has.</summary>
    public uint Probe => Bulk > 0 ? Registered + (uint)Watchers + NumbersOfNobody : First + (uint)People + (2 * (uint)Clients);
}

/// <summary>A wrong command line. The message is one line that says what to write instead.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The flags, and their possible values.</summary>
internal sealed class SwarmCommand
{
    private const uint FirstDirectoryNumber = 1u << 31;

    private readonly Option<string[]> _url = new("--url")
    {
        Description = "the address of the deployment; may be given several times [http://127.0.0.1:8080]",
        HelpName = "URL",
    };
    private readonly Option<string> _people = Text("--people", "N", "the number of people [1000]");
    private readonly Option<string> _seconds = Text("--seconds", "S", "the length of the run, which is one day of the people [60]");
    private readonly Option<string> _seed = Text("--seed", "K", "the same seed makes the same plan of sessions [1]");
    private readonly Option<string> _first = Text("--first", "N", "the user ID of the first person [1000000]");
    private readonly Option<string> _bulk = Text(
        "--bulk", "N", "instead of people: so many active users by packed heartbeats, such as 5m");
    private readonly Option<string> _registered = Text(
        "--registered", "N", "with --bulk: registered users, of whom the active ones come and go [twice --bulk]");
    private readonly Option<string> _session = Text("--session-seconds", "S", "with --bulk: how long each user is active [1200]");
    private readonly Option<string> _watchers = Text("--watchers", "N", "with --bulk: sockets that watch users [100]");
    private readonly Option<string> _watch = Text("--watch", "N", "with --bulk: users that each socket watches [100]");
    private readonly Option<string> _away = Text("--away-seconds", "S", "the server's --away-seconds: also checks which users are away");
    private readonly Option<bool> _accounts = Flag(
        "--accounts", "people are renamed, signed out everywhere, and deleted, and come back; the server needs a user directory");
    private readonly Option<bool> _claims = Flag(
        "--claims", "people set statuses with texts and ends, by several sources; the server needs a user directory");
    private readonly Option<bool> _devices = Flag("--devices", "devices are named, each with a kind of its own");
    private readonly Option<bool> _feed = Flag("--feed", "a backend follows the feed of changes, and its state is checked");
    private readonly Option<string> _webhook = Text(
        "--webhook", "PORT", "a backend receives a webhook on this port of 127.0.0.1, and its state is checked");
    private readonly Option<string> _receiverDown = Text(
        "--receiver-down-seconds", "S", "with --webhook: the receiver is down for so long");
    private readonly Option<string> _receiverSlow = Text(
        "--receiver-slow-seconds", "S", "with --webhook: the receiver takes a second an answer for so long");
    private readonly Option<string> _quiet = Text("--quiet-seconds", "S", "then for so long people neither come nor go [0]");
    private readonly Option<string> _clients = Text(
        "--clients", "N", "besides: so many people with the .NET client, and so many with that for JavaScript");
    private readonly Option<bool> _disturbed = Flag(
        "--disturbed", "somebody kills nodes or stores during the run: what needs a notification may be late");
    private readonly Option<string> _report = Text("--report", "FILE.html", "the file for an HTML report");
    private readonly Option<string> _json = Text("--json", "FILE.json", "the file for all figures");

    /// <summary>The command, which calls <paramref name="run"/>.</summary>
    public RootCommand Create(Func<SwarmOptions, Task<int>> run)
    {
        var command = new RootCommand(
            "aglow swarm: simulated people on a running deployment. They know what their devices really did, and compare every status and "
                + "every change that they receive with the deployment's promises. Exit code 1 on any violation, or if nothing could be "
                + "checked.")
        {
            _url, _people, _seconds, _seed, _first, _bulk, _registered, _session, _watchers, _watch, _away, _accounts, _claims,
            _devices, _feed, _webhook, _receiverDown, _receiverSlow, _quiet, _clients, _disturbed, _report, _json,
        };
        command.SetAction((parsed, _) => run(Read(parsed)));
        return command;
    }

    private SwarmOptions Read(ParseResult parsed)
    {
        var bulk = (uint)Number(parsed, _bulk, 0, 0, 1_000_000_000);
        if (bulk == 0)
        {
            foreach (var option in new[] { _registered, _session, _watchers, _watch })
            {
                if (parsed.GetValue(option) is not null)
                    throw new UsageException($"{option.Name} goes with --bulk, such as --bulk 5m.");
            }
        }

        foreach (var option in new[] { _accounts, _claims, _devices, _feed })
        {
            if (bulk > 0 && parsed.GetValue(option))
                throw new UsageException($"{option.Name} goes with people, not with --bulk: leave one of them out.");
        }

        foreach (var option in new[] { _webhook, _clients })
        {
            if (bulk > 0 && parsed.GetValue(option) is not null)
                throw new UsageException($"{option.Name} goes with people, not with --bulk: leave one of them out.");
        }

        var options = new SwarmOptions
        {
            Urls = [.. (parsed.GetValue(_url) is { Length: > 0 } urls ? urls : ["http://127.0.0.1:8080"]).Select(Address)],
            People = (int)Number(parsed, _people, 1_000, 2, 1_000_000),
            Seconds = Number(parsed, _seconds, 60, 1, 864_000),
            Seed = (int)Number(parsed, _seed, 1, 0, int.MaxValue),
            First = (uint)Number(parsed, _first, 1_000_000, 0, FirstDirectoryNumber - 1),
            Bulk = bulk,
            Registered = (uint)Number(parsed, _registered, 2L * bulk, bulk, 2_000_000_000),
            SessionSeconds = Number(parsed, _session, 1_200, 1, 86_400),
            Watchers = (int)Number(parsed, _watchers, 100, 0, Plan.MaxSockets),
            Watch = (int)Number(parsed, _watch, 100, 1, 4_000),
            AwaySeconds = Number(parsed, _away, 0, 0, 86_400),
            ChangesAccounts = parsed.GetValue(_accounts),
            SetsClaims = parsed.GetValue(_claims),
            NamesDevices = parsed.GetValue(_devices),
            FollowsFeed = parsed.GetValue(_feed),
            WebhookPort = (int)Number(parsed, _webhook, 0, 1, 65_535),
            ReceiverDownSeconds = Number(parsed, _receiverDown, 0, 0, 86_400),
            ReceiverSlowSeconds = Number(parsed, _receiverSlow, 0, 0, 86_400),
            QuietSeconds = Number(parsed, _quiet, 0, 0, 86_400),
            Clients = (int)Number(parsed, _clients, 0, 0, 5_000),
            IsDisturbed = parsed.GetValue(_disturbed),
            Report = parsed.GetValue(_report),
            Json = parsed.GetValue(_json),
        };
        if (bulk == 0 && (long)options.First + options.People + (2 * options.Clients) > FirstDirectoryNumber)
            throw new UsageException($"--first {options.First}: with {options.People} people numbers would pass 2147483647; begin lower.");
        foreach (var file in new[] { options.Report, options.Json })
        {
            if (file is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(file))))
                throw new UsageException($"{file}: there is no folder {Path.GetDirectoryName(Path.GetFullPath(file))}; make it first.");
        }

        return options;
    }

    private static Option<string> Text(string name, string value, string description) =>
        new(name) { Description = description, HelpName = value };

    private static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    private static Uri Address(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            ? url
            : throw new UsageException($"--url {text}: write an address such as http://127.0.0.1:8080.");

    private static long Number(ParseResult parsed, Option<string> option, long otherwise, long least, long most)
    {
        if (parsed.GetValue(option) is not { } text)
            return otherwise;
        var scale =
            text.Length == 0 ? 1 : char.ToLowerInvariant(text[^1]) switch { 'k' => 1_000, 'm' => 1_000_000, 'b' => 1_000_000_000, _ => 1 };
        if (!double.TryParse(scale == 1 ? text : text[..^1], NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            || number * scale is var value && (value < least || value > most || value != Math.Floor(value)))
        {
            throw new UsageException($"{option.Name} {text}: write a whole number from {least} to {most}, such as {otherwise} or 10k.");
        }

        return (long)(number * scale);
    }
}
