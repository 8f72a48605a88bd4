using Aglow.Files;

namespace Aglow.Sqlite;

/// <summary>
/// Checks that the open files are still those in the data folder, and can be written. SQLite commits into a deleted or replaced file
/// without an error, and those commits are lost. So nothing may be acknowledged after such a change.
/// </summary>
/// <remarks>
/// <code>
///   after each commit, before its callers continue ─┐
///   before each group of commands                  ─┼─► Check: a few system calls ─► trouble? ─► 503, not ready, one log line
///   twice a second                                 ─┘
/// </code>
/// If a folder is moved away and back, the trouble ends and writes continue. Threading: any thread.
/// </remarks>
internal sealed class FolderWatch(string folder, AglowLog log)
{
    private readonly Lock _gate = new();
    private volatile Watched[] _files = [];
    private volatile string? _trouble;
    private volatile string? _damage;

    /// <summary>The interval of checks while nothing is committed.</summary>
    public static TimeSpan Interval => TimeSpan.FromMilliseconds(500);

    /// <summary>The trouble that the last check found, in one line; null: there is none.</summary>
    public string? Trouble => _trouble;

    /// <summary>Watches an open database, its WAL and its sums.</summary>
    public void Add(string path)
    {
        lock (_gate)
            _files = [.. _files, .. Files(path)];
    }

    /// <summary>Reports damage in an open file. The trouble stays until the server is restarted.</summary>
    public void Report(string damage)
    {
        _damage = damage;
        Check();
    }

    /// <summary>Stops watching a database that is about to be closed, because closing deletes its WAL.</summary>
    public void Remove(string path)
    {
        lock (_gate)
            _files = [.. _files.Where(file => !file.Path.StartsWith(path, StringComparison.Ordinal))];
    }

    /// <summary>Checks the folder, and logs a change.</summary>
    public void Check()
    {
        var found = FindTrouble();
        if (found == _trouble)
            return;
        lock (_gate)
        {
            if (found == _trouble)
                return;
            if (found is null)
                log.FolderIsBack(folder);
            else
                log.FolderLost(found);
            _trouble = found;
        }
    }

    /// <summary>Checks the folder.</summary>
    /// <exception cref="StoreUnavailableException">The last write may be lost, and later writes would be.</exception>
    public void EnsureSame()
    {
        Check();
        if (_trouble is { } trouble)
            throw new StoreUnavailableException(trouble);
    }

    private static IEnumerable<Watched> Files(string path)
    {
        foreach (var file in new[] { path, path + "-wal", PageSums.PathOf(path) })
        {
            if (FileIdentity.Of(file) is { } identity)
                yield return new Watched(file, identity);
        }
    }

    private string? FindTrouble()
    {
        if (_damage is { } damage)
            return damage;
        foreach (var file in _files)
        {
            var now = FileIdentity.Of(file.Path);
            if (now is null)
                return $"{file.Path} is gone while this server runs: restore the folder, or stop this server and start it on a backup.";
            if (now != file.Identity)
                return $"{file.Path} is another file than the one this server opened: put that one back, or start this server again.";
            if (!FileIdentity.IsWritable(file.Path, out var reason))
                return $"{file.Path} cannot be written any more ({reason}): give this user the right to, and mount its disk for writing.";
        }

        return FileIdentity.IsWritable(folder, out var why)
            ? null
            : $"{folder} cannot be written any more ({why}): give this user the right to, and mount its disk for writing.";
    }

    private sealed record Watched(string Path, FileIdentity Identity);
}
