using Npgsql;
using NpgsqlTypes;

namespace Aglow.Postgres;

/// <summary>Statements and their parameters.</summary>
internal static class Sql
{
    public static NpgsqlBatchCommand Statement(string sql, params ReadOnlySpan<NpgsqlParameter> parameters)
    {
        var statement = new NpgsqlBatchCommand(sql);
        foreach (var parameter in parameters)
            statement.Parameters.Add(parameter);
        return statement;
    }

    public static NpgsqlParameter<long> Number(long number) => new() { TypedValue = number };

    public static NpgsqlParameter NumberOrNull(long? number) => new() { Value = (object?)number ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint };

    public static NpgsqlParameter<long[]> Numbers(IEnumerable<uint> numbers) => new() { TypedValue = [.. numbers.Select(static n => (long)n)] };

    public static NpgsqlParameter<string> Text(string text) => new() { TypedValue = text };

    public static NpgsqlParameter Texts(IReadOnlyList<string?> texts) =>
        new() { Value = texts as string?[] ?? [.. texts], NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text };
}
