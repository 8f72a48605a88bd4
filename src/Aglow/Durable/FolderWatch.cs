using Aglow.Diagnostics;
using Aglow.Sqlite;
using Aglow.Storage;

namespace Aglow.Durable;

/// <summary>
/// Whether the files that are open are still those that the data folder names, and may be written. A commit into a file that was deleted or
/// replaced succeeds, and nobody finds it again, so nothing may be acknowledged from then on.
/// </summary>
/// <remarks>
/// <code>
///   after each commit, before its callers hear of it ─┐
///   before each group of commands                    ─┼─► Look: a few system calls ─► trouble? ─► 503, not ready, one line in the log
///   twice a second                                   ─┘
/// </code>
/// A folder that was moved away and is moved back is the same again: then everything goes on. Threading: any thread.
/// </remarks>
internal sealed class FolderWatch
{
    private readonly string _folder;
    private readonly AglowLog _log;
    private readonly Lock _gate = new();
    private volatile Watched[] _files = [];
    private volatile string? _trouble;
    private volatile string? _damage;

    public FolderWatch(string folder, AglowLog log)
    {
        _folder = folder;
        _log = log;
    }

    /// <summary>How often the folder is looked at when nothing is committed.</summary>
    public static TimeSpan Interval => TimeSpan.FromMilliseconds(500);

    /// <summary>What is wrong with the folder, as of the last look: one line. Null: nothing.</summary>
    public string? Trouble => _trouble;

    /// <summary>Watches a file that is open, and its journal.</summary>
    public void Add(string path)
    {
        lock (_gate)
            _files = [.. _files, .. Files(path)];
    }

    /// <summary>Damage was found in a file that is open. It stays until the server is started again.</summary>
    public void Report(string damage)
    {
        _damage = damage;
        Look();
    }

    /// <summary>The file is about to be closed, and its journal deleted.</summary>
    public void Remove(string path)
    {
        lock (_gate)
            _files = [.. _files.Where(file => !file.Path.StartsWith(path, StringComparison.Ordinal))];
    }

    /// <summary>Looks at the folder and says in the log what has changed.</summary>
    public void Look()
    {
        var found = FindTrouble();
        if (found == _trouble)
            return;
        lock (_gate)
        {
            if (found == _trouble)
                return;
            if (found is null)
                _log.FolderIsBack(_folder);
            else
                _log.FolderLost(found);
            _trouble = found;
        }
    }

    /// <summary>Looks at the folder.</summary>
    /// <exception cref="StoreUnavailableException">What was just written, or is about to be, may be found by nobody.</exception>
    public void EnsureSame()
    {
        Look();
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

        return FileIdentity.IsWritable(_folder, out var why)
            ? null
            : $"{_folder} cannot be written any more ({why}): give this user the right to, and mount its disk for writing.";
    }

    private sealed record Watched(string Path, FileIdentity Identity);
}
