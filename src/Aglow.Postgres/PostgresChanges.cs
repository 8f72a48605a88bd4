using Npgsql;

namespace Aglow.Postgres;

/// <summary>What the tables (<see cref="PostgresSchema"/>) say of changes; asked by the <see cref="PostgresWriter"/>, on its connection.</summary>
internal static class PostgresChanges
{
    /// <summary>The last change, and the next number.</summary>
    public static async Task<(long Change, uint Next)> ReadStateAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand("SELECT change, next_number FROM aglow.state", connection);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt64(0), (uint)reader.GetInt64(1));
    }

    /// <summary>Whose names and statuses changed after a change; of the deleted nothing where <paramref name="isComplete"/>.</summary>
    public static async Task<(List<KeyValuePair<uint, string>> Deleted, List<KeyValuePair<uint, ManualStatus>> Statuses)> ReadAsync(
        NpgsqlConnection connection, long since, bool isComplete)
    {
        var deleted = new List<KeyValuePair<uint, string>>();
        var statuses = new List<KeyValuePair<uint, ManualStatus>>();
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("SELECT number, kind, shown_last_seen FROM aglow.manual_status WHERE change > $1", Sql.Number(since)));
        // who forgets every key need not be told which
        if (!isComplete)
            batch.BatchCommands.Add(Sql.Statement("SELECT number, name FROM aglow.deleted WHERE change > $1 AND name IS NOT NULL", Sql.Number(since)));

        await using var reader = await batch.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            statuses.Add(new((uint)reader.GetInt64(0), new ManualStatus((ManualStatusKind)reader.GetInt16(1), (uint)reader.GetInt64(2))));
        await reader.NextResultAsync();
        while (await reader.ReadAsync())
            deleted.Add(new((uint)reader.GetInt64(0), reader.GetString(1)));
        return (deleted, statuses);
    }

    /// <summary>Forgets what was undone before this second (Unix time), which everybody has heard of: the names of the deleted, statuses that were taken back. Any node may do it.</summary>
    public static async Task ForgetAsync(NpgsqlConnection connection, long before)
    {
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("DELETE FROM aglow.manual_status WHERE kind = 0 AND changed_at < $1", Sql.Number(before)));
        batch.BatchCommands.Add(Sql.Statement("UPDATE aglow.deleted SET name = NULL WHERE name IS NOT NULL AND deleted_at < $1", Sql.Number(before)));
        await batch.ExecuteNonQueryAsync();
    }
}
