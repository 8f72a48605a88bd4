using System.CommandLine;
using System.Globalization;

namespace Aglow.Swarm;

/// <summary>A wrong command line. The message is one line that says what to write instead.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>The command line: the flags, which say what each value means, and the values of this run.</summary>
internal sealed class SwarmOptions(ParseResult parsed)
{
    /// <summary>How many IDs of no user are read, besides those of all users.</summary>
    public const int NumbersOfNobody = 100_000;

    private const uint FirstDirectoryNumber = 1u << 31;

    private static readonly Option<string[]> UrlFlag = new("--url")
    {
        Description = "the address of the deployment; may be given several times [http://127.0.0.1:8080]",
        HelpName = "URL",
    };
    private static readonly Option<string> PeopleFlag = Text("--people", "N", "the number of people [1000]");
    private static readonly Option<string> SecondsFlag = Text(
        "--seconds", "S", "the length of the run, which is one day of the people [60]");
    private static readonly Option<string> SeedFlag = Text("--seed", "K", "the same seed makes the same plan of sessions [1]");
    private static readonly Option<string> FirstFlag = Text("--first", "N", "the user ID of the first person [1000000]");
    private static readonly Option<string> BulkFlag = Text(
        "--bulk", "N", "instead of people: so many active users by packed heartbeats, such as 5m");
    private static readonly Option<string> RegisteredFlag = Text(
        "--registered", "N", "with --bulk: registered users, of whom the active ones come and go [twice --bulk]");
    private static readonly Option<string> SessionFlag = Text(
        "--session-seconds", "S", "with --bulk: how long each user is active [1200]");
    private static readonly Option<string> WatchersFlag = Text("--watchers", "N", "with --bulk: sockets that watch users [100]");
    private static readonly Option<string> WatchFlag = Text("--watch", "N", "with --bulk: users that each socket watches [100]");
    private static readonly Option<string> AwayFlag = Text(
        "--away-seconds", "S", "the server's --away-seconds: also checks which users are away");
    private static readonly Option<bool> AccountsFlag = Flag(
        "--accounts", "people are renamed, signed out everywhere, and deleted, and come back; the server needs a user directory");
    private static readonly Option<bool> ClaimsFlag = Flag(
        "--claims", "people set statuses with texts and ends, by several sources; the server needs a user directory");
    private static readonly Option<bool> DevicesFlag = Flag("--devices", "devices are named, each with a kind of its own");
    private static readonly Option<bool> FeedFlag = Flag("--feed", "a backend follows the feed of changes, and its state is checked");
    private static readonly Option<string> WebhookFlag = Text(
        "--webhook", "PORT", "a backend receives a webhook on this port of 127.0.0.1, and its state is checked");
    private static readonly Option<string> ReceiverDownFlag = Text(
        "--receiver-down-seconds", "S", "with --webhook: the receiver is down for so long");
    private static readonly Option<string> ReceiverSlowFlag = Text(
        "--receiver-slow-seconds", "S", "with --webhook: the receiver takes a second an answer for so long");
    private static readonly Option<string> QuietFlag = Text(
        "--quiet-seconds", "S", "then for so long people neither come nor go [0]");
    private static readonly Option<string> ClientsFlag = Text(
        "--clients", "N", "besides: so many people with the .NET client, and so many with that for JavaScript");
    private static readonly Option<bool> DisturbedFlag = Flag(
        "--disturbed", "somebody kills nodes or stores during the run: what needs a notification may be late");
    private static readonly Option<string> ReportFlag = Text("--report", "FILE.html", "the file for an HTML report");
    private static readonly Option<string> JsonFlag = Text("--json", "FILE.json", "the file for all figures");

    public IReadOnlyList<Uri> Urls { get; } =
        [.. (parsed.GetValue(UrlFlag) is { Length: > 0 } urls ? urls : ["http://127.0.0.1:8080"]).Select(Address)];

    public int People { get; } = (int)Number(parsed, PeopleFlag, 1_000, 2, 1_000_000);

    public double Seconds { get; } = Number(parsed, SecondsFlag, 60, 1, 864_000);

    public int Seed { get; } = (int)Number(parsed, SeedFlag, 1, 0, int.MaxValue);

    public uint First { get; } = (uint)Number(parsed, FirstFlag, 1_000_000, 0, FirstDirectoryNumber - 1);

    /// <summary>0: a run of people.</summary>
    public uint Bulk { get; } = BulkOf(parsed);

    public uint Registered { get; } = (uint)Number(parsed, RegisteredFlag, 2L * BulkOf(parsed), BulkOf(parsed), 2_000_000_000);

    public double SessionSeconds { get; } = Number(parsed, SessionFlag, 1_200, 1, 86_400);

    public int Watchers { get; } = (int)Number(parsed, WatchersFlag, 100, 0, Plan.MaxSockets);

    public int Watch { get; } = (int)Number(parsed, WatchFlag, 100, 1, 4_000);

    /// <summary>0: not known.</summary>
    public double AwaySeconds { get; } = Number(parsed, AwayFlag, 0, 0, 86_400);

    public bool ChangesAccounts { get; } = parsed.GetValue(AccountsFlag);

    public bool SetsClaims { get; } = parsed.GetValue(ClaimsFlag);

    public bool NamesDevices { get; } = parsed.GetValue(DevicesFlag);

    public bool FollowsFeed { get; } = parsed.GetValue(FeedFlag);

    /// <summary>0: none.</summary>
    public int WebhookPort { get; } = (int)Number(parsed, WebhookFlag, 0, 1, 65_535);

    public double ReceiverDownSeconds { get; } = Number(parsed, ReceiverDownFlag, 0, 0, 86_400);

    public double ReceiverSlowSeconds { get; } = Number(parsed, ReceiverSlowFlag, 0, 0, 86_400);

    public double QuietSeconds { get; } = Number(parsed, QuietFlag, 0, 0, 86_400);

    public int Clients { get; } = (int)Number(parsed, ClientsFlag, 0, 0, 5_000);

    public bool IsDisturbed { get; } = parsed.GetValue(DisturbedFlag);

    public string? Report { get; } = parsed.GetValue(ReportFlag);

    public string? Json { get; } = parsed.GetValue(JsonFlag);

    /// <summary>A user ID that no user of the run has.</summary>
    public uint Probe => Bulk > 0 ? Registered + (uint)Watchers + NumbersOfNobody : First + (uint)People + (2 * (uint)Clients);

    /// <summary>The command, which calls <paramref name="run"/>.</summary>
    public static RootCommand Command(Func<SwarmOptions, Task<int>> run)
    {
        var command = new RootCommand(
            "aglow swarm: simulated people on a running deployment. They know what their devices really did, and compare every status and "
                + "every change that they receive with the deployment's promises. Exit code 1 on any violation, or if nothing could be "
                + "checked.")
        {
            UrlFlag, PeopleFlag, SecondsFlag, SeedFlag, FirstFlag, BulkFlag, RegisteredFlag, SessionFlag, WatchersFlag, WatchFlag, AwayFlag,
            AccountsFlag, ClaimsFlag, DevicesFlag, FeedFlag, WebhookFlag, ReceiverDownFlag, ReceiverSlowFlag, QuietFlag, ClientsFlag,
            DisturbedFlag, ReportFlag, JsonFlag,
        };
        command.SetAction((parsed, _) => run(Read(parsed)));
        return command;
    }

    private static SwarmOptions Read(ParseResult parsed)
    {
        var isBulk = BulkOf(parsed) > 0;
        Option[] ofBulk = [RegisteredFlag, SessionFlag, WatchersFlag, WatchFlag];
        if (!isBulk && Array.Find(ofBulk, IsGiven) is { } alone)
            throw new UsageException($"{alone.Name} goes with --bulk, such as --bulk 5m.");
        Option[] ofPeople = [AccountsFlag, ClaimsFlag, DevicesFlag, FeedFlag, WebhookFlag, ClientsFlag];
        if (isBulk && Array.Find(ofPeople, IsGiven) is { } other)
            throw new UsageException($"{other.Name} goes with people, not with --bulk: leave one of them out.");
        var options = new SwarmOptions(parsed);
        if (!isBulk && (long)options.First + options.People + (2 * options.Clients) > FirstDirectoryNumber)
            throw new UsageException($"--first {options.First}: with {options.People} people numbers would pass 2147483647; begin lower.");
        foreach (var file in new[] { options.Report, options.Json })
        {
            if (file is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(file))))
                throw new UsageException($"{file}: there is no folder {Path.GetDirectoryName(Path.GetFullPath(file))}; make it first.");
        }

        return options;

        bool IsGiven(Option option) => parsed.GetResult(option) is { Implicit: false };
    }

    private static uint BulkOf(ParseResult parsed) => (uint)Number(parsed, BulkFlag, 0, 0, 1_000_000_000);

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
