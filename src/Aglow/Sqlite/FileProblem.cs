using Microsoft.Data.Sqlite;

namespace Aglow.Sqlite;

/// <summary>Turns failures of the data folder's files into one line for the operator.</summary>
internal static class FileProblem
{
    /// <summary>A message of one line about a file that cannot be opened; null: the exception has another cause.</summary>
    public static DataFolderException? Explain(string file, Exception e) => e switch
    {
        SqliteException sqlite => Explain(file, sqlite),
        StoreUnavailableException damaged => new DataFolderException(damaged.Message, damaged),
        IOException or UnauthorizedAccessException => new DataFolderException(
            $"{file} cannot be opened ({e.Message}): give this user the right to, or name another folder: {OptionNames.DataDirectory}.", e),
        _ => null,
    };

    /// <summary>A message of one line about a file that SQLite cannot use.</summary>
    public static DataFolderException Explain(string file, SqliteException e) => new(
        e.SqliteErrorCode switch
        {
            SQLitePCL.raw.SQLITE_NOTADB => $"{file} is not an Aglow file, or its beginning is damaged; nothing was changed. "
                + "Restore a backup, or move the folder away to start again.",
            SQLitePCL.raw.SQLITE_CORRUPT => Damaged(file, e.Message).Message,
            SQLitePCL.raw.SQLITE_FULL => $"There is no room to write {file}: free some on its disk and start again.",
            SQLitePCL.raw.SQLITE_READONLY or SQLitePCL.raw.SQLITE_CANTOPEN or SQLitePCL.raw.SQLITE_PERM =>
                $"{file} cannot be opened for writing ({e.Message}): give this user the right to, or name another folder: "
                    + $"{OptionNames.DataDirectory}.",
            SQLitePCL.raw.SQLITE_BUSY or SQLitePCL.raw.SQLITE_LOCKED =>
                $"{file} is held by another program (a backup, a SQLite shell): end that and start again.",
            _ => $"{file} cannot be read or written ({e.Message}): check its disk; nothing was overwritten.",
        },
        e);

    /// <summary>A message of one line about a file whose content is not what was written.</summary>
    public static DataFolderException Damaged(string file, string what) =>
        new($"{file} is damaged ({what}); nothing was changed. Restore a backup of the folder, or repair it: "
            + "\"aglow check\" says what a repair would lose, and \"aglow repair --keep-what-is-good\" saves the rest. Name the folder "
            + $"with --data {Path.GetDirectoryName(file)}.");
}
