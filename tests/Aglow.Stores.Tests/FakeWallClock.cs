using System.Globalization;

namespace Aglow.Stores.Tests;

/// <summary>
/// The wall clock of processes that start with it. It differs from the machine's clock by a set amount; their monotonic clock does not.
/// </summary>
/// <remarks>
/// libfaketime reads the file each time a process reads a clock. So a process continues to run when its clock is stepped. A suspended
/// machine and a corrected clock look the same to a process.
/// </remarks>
internal sealed class FakeWallClock : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public FakeWallClock(TimeSpan ahead = default) => StepTo(ahead);

    /// <summary>How far it is ahead of the machine's clock.</summary>
    public TimeSpan Ahead { get; private set; }

    /// <summary>Its time, in seconds since 1970.</summary>
    public double Seconds => (TimeProvider.System.GetUtcNow() + Ahead - DateTimeOffset.UnixEpoch).TotalSeconds;

    /// <summary>Environment variables for a process that uses this clock.</summary>
    public Dictionary<string, string> Environment => new()
    {
        ["LD_PRELOAD"] = Directory.GetDirectories("/usr/lib", "*-linux-gnu")
            .Select(folder => Path.Combine(folder, "faketime", "libfaketimeMT.so.1")).First(File.Exists),
        ["FAKETIME_TIMESTAMP_FILE"] = _file,
        ["FAKETIME_NO_CACHE"] = "1",
        ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
        // without this, libfaketime 0.9.10 measures monotonic waits by the wall clock: they all end at once, and timers spin
        ["FAKETIME_FORCE_MONOTONIC_FIX"] = "0",
    };

    /// <summary>Steps the clock of all processes that use it.</summary>
    public void StepTo(TimeSpan ahead)
    {
        // renamed into place, because processes read the file all the time
        var next = $"{_file}.next";
        File.WriteAllText(next, ahead.TotalSeconds.ToString("+0;-0;+0", CultureInfo.InvariantCulture) + "\n");
        File.Move(next, _file, overwrite: true);
        Ahead = ahead;
    }

    public void Dispose() => File.Delete(_file);
}
