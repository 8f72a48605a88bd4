using Npgsql;

namespace Aglow.Benchmarks.Baselines;

/// <summary>Runs our own PostgreSQL on loopback, in a new folder. The folder is deleted afterwards.</summary>
internal sealed class PostgresServer(Child child, string folder, int port) : IAsyncDisposable
{
    public int Port => port;

    public string ConnectionString { get; } =
        $"Host=127.0.0.1;Port={port};Username=aglow;Database=postgres;Maximum Pool Size=20;Timeout=10";

    /// <summary>Starts a server.</summary>
    /// <param name="core">The only core it may use, as a mask; 0: any.</param>
    /// <param name="waitsForDisk">Whether a heartbeat is on disk before it is acknowledged. That is the default of the server, not its
    /// fastest setting here.</param>
    public static async Task<PostgresServer> StartAsync(int core, bool waitsForDisk = false)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-postgres-").FullName;
        var data = Path.Combine(folder, "data");
        var initdb = Programs.Find("initdb", "postgresql", PostgresFolders());
        var postgres = Programs.Find("postgres", "postgresql", PostgresFolders());
        // it refuses to run as root, so it runs as the user that its package created
        string[] become = Environment.IsPrivilegedProcess ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];
        if (become.Length > 0)
            await Programs.RunAsync("chown", "postgres", folder);
        await Programs.RunAsync(
            [.. become, initdb, "-D", data, "-A", "trust", "-U", "aglow", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C"]);
        var port = Programs.FreePort();
        string[] command =
        [
            .. become, postgres, "-D", data, "-c", "listen_addresses=127.0.0.1", "-c", $"port={port}", "-c",
            $"unix_socket_directories={folder}",
            "-c", "log_min_messages=fatal", "-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=15min", "-c",
            $"synchronous_commit={(waitsForDisk ? "on" : "off")}",
        ];
        var child = Child.Start(command[0], core, command[1..]);
        var server = new PostgresServer(child, folder, port);
        await Programs.UntilAsync("PostgreSQL", child, async () =>
        {
            await using var connection = new NpgsqlConnection($"{server.ConnectionString};Pooling=false");
            await connection.OpenAsync();
        });
        return server;
    }

    /// <summary>Pauses the server and the processes for its connections, or resumes them.</summary>
    public void Pause(bool pause)
    {
        // the server first, so that it starts no more processes
        int[] processes = [child.Process.Id, .. Cpu.ChildrenOf(child.Process.Id)];
        foreach (var process in processes)
            Child.Pause(process, pause);
    }

    /// <summary>CPU seconds of the server and of the processes for its connections.</summary>
    public double CpuSeconds() => Cpu.OfTree(child.Process.Id);

    /// <summary>
    /// The number of connections that were opened since the start. The server counts a connection when it ends, or after a second.
    /// </summary>
    public async Task<long> ConnectionsAsync()
    {
        await Task.Delay(1200);
        await using var connection = new NpgsqlConnection($"{ConnectionString};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand("SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'", connection);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>Removes the dead rows of updates and deletes, which the server would otherwise remove later.</summary>
    public async Task VacuumAsync(string table)
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"VACUUM {table}", connection) { CommandTimeout = 600 };
        await command.ExecuteNonQueryAsync();
    }

    public ValueTask DisposeAsync()
    {
        NpgsqlConnection.ClearAllPools();
        child.Interrupt();
        child.Dispose();
        Directory.Delete(folder, recursive: true);
        return default;
    }

    private static IEnumerable<string> PostgresFolders() => Directory.Exists("/usr/lib/postgresql")
        ? Directory.GetDirectories("/usr/lib/postgresql")
            .OrderByDescending(f => int.TryParse(Path.GetFileName(f), out var version) ? version : 0)
            .Select(f => Path.Combine(f, "bin"))
        : [];
}
