using Microsoft.Extensions.Logging;

namespace Aglow.Diagnostics;

/// <summary>Owns the engine's log events. Event numbers never change, and no event from Information up holds a user's data.</summary>
/// <remarks>
/// 1xxx: the demo; 2xxx: time and sweeping; 3xxx: the embedded store; 4xxx: the directory; 5xxx: watching. Other libraries: 6xxx Redis,
/// 7xxx PostgreSQL, 8xxx HTTP, 9xxx the server.
/// </remarks>
public sealed partial class AglowLog(ILogger logger)
{
    [LoggerMessage(2001, LogLevel.Warning,
        "This process was paused for {Seconds:0.0} s. No heartbeat could arrive, so expired leases are held back for two heartbeat "
            + "intervals.")]
    internal partial void Paused(double seconds);

    [LoggerMessage(2002, LogLevel.Warning,
        "A sweep of every page takes {Seconds:0} s within 4 % of a core, over the bound of 10 s: users who go offline may show that "
            + "much late.")]
    internal partial void BoundStretched(double seconds);

    [LoggerMessage(2003, LogLevel.Warning,
        "The clock was {Seconds} s off and is corrected. Expired leases are held back for two heartbeat intervals. "
        + "If no machine was suspended, check NTP.")]
    internal partial void ClockStepped(long seconds);

    [LoggerMessage(3001, LogLevel.Information,
        "{Registered} users in {File} read in {Seconds:0.00} s, with {Rows} rows of the journal; {Online} are online. "
        + "The last run {Ended}, {Away} s ago.")]
    internal partial void Loaded(string file, long registered, double seconds, long rows, long online, string ended, long away);

    [LoggerMessage(3002, LogLevel.Error,
        "Nothing can be written to {File} ({Reason}). {Effect}; the server retries four times a second.")]
    internal partial void CannotWrite(string file, string reason, string effect);

    [LoggerMessage(3003, LogLevel.Warning, "{File} can be written again after {Seconds:0.0} s; nothing was lost.")]
    internal partial void WritesAgain(string file, double seconds);

    [LoggerMessage(3004, LogLevel.Debug, "A checkpoint of {File} took {Seconds:0.0} s, pauses included.")]
    internal partial void Checkpointed(string file, double seconds);

    [LoggerMessage(3005, LogLevel.Error, "{Trouble} Until then facts are refused with 503, and this server is not ready.")]
    internal partial void FolderLost(string trouble);

    [LoggerMessage(3006, LogLevel.Warning, "{Folder} is as it was and can be written again. The server accepts facts again.")]
    internal partial void FolderIsBack(string folder);

    [LoggerMessage(2004, LogLevel.Error,
        "A step of the background work \"{Name}\" failed. The work goes on. It logs one failure a minute at most.")]
    internal partial void StepFailed(string name, Exception exception);

    [LoggerMessage(1001, LogLevel.Information, "The demo is on: {People} people come and go by themselves, in memory only.")]
    internal partial void DemoIsOn(int people);
}
