using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// A connection through <c>libmariadb</c>, MariaDB's own client library, for tables of numbers only. One caller at a time.
/// </summary>
/// <remarks>
/// The package sources of this build have no current .NET driver for MariaDB with all dependencies (MySqlConnector, MySql.Data,
/// System.Data.Odbc), and an old one would not be fair.
/// </remarks>
internal sealed unsafe partial class MariaConnection : IDisposable
{
    private const string Library = "libmariadb.so.3";

    private nint _handle;

    public MariaConnection(int port)
    {
        try
        {
            _handle = mysql_init(0);
        }
        catch (DllNotFoundException)
        {
            throw new BenchmarkException($"{Library} is not installed: apt install libmariadb3.");
        }

        if (mysql_real_connect(_handle, "127.0.0.1", "root", "", "aglow", (uint)port, null, 0) == 0)
        {
            var error = Error();
            Dispose();
            throw new BenchmarkException($"MariaDB refused a connection: {error}");
        }
    }

    /// <summary>Runs a statement. Passes the first two columns of each row, which are numbers, to <paramref name="row"/>.</summary>
    public void Run(string sql, Action<uint, long>? row)
    {
        var text = Encoding.ASCII.GetBytes(sql);
        if (mysql_real_query(_handle, text, (nuint)text.Length) != 0)
            throw new BenchmarkException($"MariaDB refused a statement: {Error()}");
        var result = mysql_store_result(_handle);
        if (result == 0)
            return;
        byte** columns;
        while ((columns = mysql_fetch_row(result)) != null)
        {
            var lengths = mysql_fetch_lengths(result);
            row?.Invoke((uint)Number(columns[0], lengths[0]), Number(columns[1], lengths[1]));
        }

        mysql_free_result(result);
    }

    public void Dispose()
    {
        mysql_close(_handle);
        _handle = 0;
    }

    private static long Number(byte* text, nuint length) =>
        Utf8Parser.TryParse(new ReadOnlySpan<byte>(text, (int)length), out long number, out _)
            ? number
            : throw new BenchmarkException("MariaDB sent no number.");

    private string Error() => Marshal.PtrToStringUTF8(mysql_error(_handle)) ?? "";

    [LibraryImport(Library)]
    private static partial nint mysql_init(nint handle);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint mysql_real_connect(
        nint handle, string host, string user, string password, string database, uint port, string? socket, nuint flags);

    [LibraryImport(Library)]
    private static partial int mysql_real_query(nint handle, byte[] sql, nuint length);

    [LibraryImport(Library)]
    private static partial nint mysql_store_result(nint handle);

    [LibraryImport(Library)]
    private static partial byte** mysql_fetch_row(nint result);

    [LibraryImport(Library)]
    private static partial nuint* mysql_fetch_lengths(nint result);

    [LibraryImport(Library)]
    private static partial void mysql_free_result(nint result);

    [LibraryImport(Library)]
    private static partial nint mysql_error(nint handle);

    [LibraryImport(Library)]
    private static partial void mysql_close(nint handle);
}
