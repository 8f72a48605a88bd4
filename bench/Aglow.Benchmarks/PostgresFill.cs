using Aglow.Model;
using Aglow.Users;
using Npgsql;
using NpgsqlTypes;

namespace Aglow.Benchmarks;

/// <summary>
/// Fills an empty directory on PostgreSQL with the people of <see cref="DirectoryPeople"/>, by <c>COPY</c> into tables without indexes.
/// </summary>
/// <remarks>
/// Only what is measured afterwards is written as the server writes it. Written that way, ten million people take an hour. The indexes and
/// constraints are read from the catalogue, dropped, and made again, so they are those of the schema.
/// </remarks>
internal static class PostgresFill
{
    private const string Tables = "'aglow.ids'::regclass, 'aglow.profile'::regclass";

    private const string Constraints = $"""
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
            format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid IN ({Tables})
        """;

    private const string Indexes = $"""
        SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
        FROM pg_index WHERE indrelid IN ({Tables})
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
        """;

    /// <summary>Writes this many people.</summary>
    public static async Task RunAsync(Run run, string connection, int users)
    {
        await using var source = NpgsqlDataSource.Create($"{connection};Command Timeout=0");
        await using var open = await source.OpenConnectionAsync();
        List<(string Drop, string Make)> statements = [.. await ReadAsync(open, Constraints), .. await ReadAsync(open, Indexes)];
        await DoAsync(open, $"SET maintenance_work_mem = '1GB'; {string.Join("; ", statements.Select(static s => s.Drop))}");
        await CopyAsync(open, users, "aglow.ids (id, idx)", static async (rows, i) =>
        {
            await rows.WriteAsync(DirectoryPeople.Uuid(i), NpgsqlDbType.Text);
            await rows.WriteAsync(Index(i), NpgsqlDbType.Bigint);
        });
        run.Progress($"{users:#,0} IDs copied");
        await CopyAsync(
            open,
            users,
            "aglow.profile (idx, created_at, updated_at, user_name, name_key, user_search, display_name, display_search)",
            static async (rows, i) =>
            {
                var (name, display) = DirectoryPeople.Named(i);
                await rows.WriteAsync(Index(i), NpgsqlDbType.Bigint);
                await rows.WriteAsync(1_800_000_000L, NpgsqlDbType.Bigint);
                await rows.WriteAsync(1_800_000_000L, NpgsqlDbType.Bigint);
                string?[] texts =
                [
                    name, NameFolding.ForUniqueness(name), NameFolding.ForSearch(name), display,
                    display is null ? null : NameFolding.ForSearch(display),
                ];
                foreach (var text in texts)
                {
                    if (text is null)
                        await rows.WriteNullAsync();
                    else
                        await rows.WriteAsync(text, NpgsqlDbType.Text);
                }
            });
        run.Progress($"{users:#,0} profiles copied");
        foreach (var (_, make) in statements)
        {
            await DoAsync(open, make);
            run.Progress(make.ReplaceLineEndings(" "));
        }

        await DoAsync(open, $"UPDATE aglow.state SET next_index = {Index(users)}");
    }

    private static long Index(int person) => UserId.FirstDirectoryNumber + (uint)person;

    private static async Task CopyAsync(NpgsqlConnection open, int users, string into, Func<NpgsqlBinaryImporter, int, Task> write)
    {
        await using var rows = await open.BeginBinaryImportAsync($"COPY {into} FROM STDIN (FORMAT BINARY)");
        rows.Timeout = TimeSpan.FromHours(1);
        for (var i = 0; i < users; i++)
        {
            await rows.StartRowAsync();
            await write(rows, i);
        }

        await rows.CompleteAsync();
    }

    private static async Task<List<(string Drop, string Make)>> ReadAsync(NpgsqlConnection open, string sql)
    {
        await using var command = new NpgsqlCommand(sql, open);
        await using var reader = await command.ExecuteReaderAsync();
        var statements = new List<(string, string)>();
        while (await reader.ReadAsync())
            statements.Add((reader.GetString(0), reader.GetString(1)));
        return statements;
    }

    private static async Task DoAsync(NpgsqlConnection open, string sql)
    {
        await using var command = new NpgsqlCommand(sql, open);
        await command.ExecuteNonQueryAsync();
    }
}
