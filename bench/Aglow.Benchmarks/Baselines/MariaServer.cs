using MySqlConnector;

namespace Aglow.Benchmarks.Baselines;

/// <summary>Runs our own MariaDB on loopback, in a new folder. The folder is deleted afterwards.</summary>
internal sealed class MariaServer(Child child, string folder, int port) : IDisposable
{
    public string ConnectionString { get; } =
        $"Server=127.0.0.1;Port={port};User ID=root;Database=aglow;SslMode=None;Maximum Pool Size=20";

    /// <summary>Starts a server. <paramref name="core"/>: the only core it may use, as a mask; 0: any.</summary>
    public static async Task<MariaServer> StartAsync(int core)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-mariadb-").FullName;
        var data = Path.Combine(folder, "data");
        string[] asRoot = Environment.IsPrivilegedProcess ? ["--user=root"] : [];
        await Programs.RunAsync(
            [
                Programs.Find("mariadb-install-db", "mariadb-server-core mariadb-client-core"), "--no-defaults", $"--datadir={data}",
                "--auth-root-authentication-method=normal", "--skip-test-db", .. asRoot]);
        Directory.CreateDirectory(Path.Combine(data, "aglow"));
        var port = Programs.FreePort();
        var child = Child.Start(
            Programs.Find("mariadbd", "mariadb-server-core"), core,
            ["--no-defaults", $"--datadir={data}", $"--port={port}", "--bind-address=127.0.0.1", $"--socket={folder}/socket",
            $"--log-error={folder}/log", $"--pid-file={folder}/pid", "--skip-name-resolve", "--max-connections=100",
            "--table-open-cache=200", "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G",
            "--innodb-flush-log-at-trx-commit=0", .. asRoot]);
        var server = new MariaServer(child, folder, port);
        await Programs.UntilAsync("MariaDB", child, async () => await server.ConnectionsAsync());
        return server;
    }

    public double CpuSeconds() => Cpu.Of(child.Process.Id);

    /// <summary>The number of connections that were opened since the start.</summary>
    public async Task<long> ConnectionsAsync()
    {
        await using var connection = new MySqlConnection($"{ConnectionString};Pooling=false");
        await connection.OpenAsync();
        await using var command = new MySqlCommand(
            "SELECT CAST(variable_value AS INTEGER) FROM information_schema.global_status WHERE variable_name = 'Connections'", connection);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>The size of a table's file.</summary>
    public long TableBytes(string table) => new FileInfo(Path.Combine(folder, "data", "aglow", $"{table}.ibd")).Length;

    public void Dispose()
    {
        child.Dispose();
        Directory.Delete(folder, recursive: true);
    }
}
