using System.Globalization;

namespace Aglow.Stores.Tests;

/// <summary>The wall clock of processes that are started with it, apart from the machine's by as much as a test says; their monotonic clock is the machine's.</summary>
/// <remarks>libfaketime reads the file at each look at a clock, so a process whose clock is stepped goes on running: what a suspend and a corrected clock look like from within.</remarks>
internal sealed class FakeWallClock : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public FakeWallClock(TimeSpan ahead = default) => StepTo(ahead);

    /// <summary>By how much it is ahead of the machine's clock.</summary>
    public TimeSpan Ahead { get; private set; }

    /// <summary>What it shows, in seconds since 1970.</summary>
    public double Seconds => (TimeProvider.System.GetUtcNow() + Ahead - DateTimeOffset.UnixEpoch).TotalSeconds;

    /// <summary>Variables of a process that goes by it.</summary>
    public Dictionary<string, string> Environment => new()
    {
        ["LD_PRELOAD"] = Directory.GetDirectories("/usr/lib", "*-linux-gnu").Select(folder => Path.Combine(folder, "faketime", "libfaketimeMT.so.1")).First(File.Exists),
        ["FAKETIME_TIMESTAMP_FILE"] = _file,
        ["FAKETIME_NO_CACHE"] = "1",
        ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
        // otherwise libfaketime 0.9.10 measures waits on the monotonic clock by the wall clock: all of them end at once, and timers spin
        ["FAKETIME_FORCE_MONOTONIC_FIX"] = "0",
    };

    /// <summary>Steps it, whatever runs by it.</summary>
    public void StepTo(TimeSpan ahead)
    {
        // renamed into place: a process reads it all the while
        var next = $"{_file}.next";
        File.WriteAllText(next, ahead.TotalSeconds.ToString("+0;-0;+0", CultureInfo.InvariantCulture) + "\n");
        File.Move(next, _file, overwrite: true);
        Ahead = ahead;
    }

    public void Dispose() => File.Delete(_file);
}
