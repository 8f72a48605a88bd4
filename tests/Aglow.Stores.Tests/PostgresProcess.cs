using System.Diagnostics;
using System.Runtime.InteropServices;
using Aglow.Postgres;
using Npgsql;

namespace Aglow.Stores.Tests;

/// <summary>
/// A private PostgreSQL on loopback, in a temporary folder, which stops with the tests. Tests that run as root start it as the user
/// postgres, because PostgreSQL refuses to run as root.
/// </summary>
internal sealed partial class PostgresProcess : IAsyncDisposable
{
    public const string User = "aglow";
    public const string Password = "not a secret; really";

    private static readonly TimeSpan StartsWithin = TimeSpan.FromMinutes(1);

    private readonly string _folder;
    private Process? _process;

    private PostgresProcess(string folder) => _folder = folder;

    public int Port { get; private set; }

    public static async Task<PostgresProcess> StartAsync()
    {
        var folder = Directory.CreateTempSubdirectory("aglow-postgres-").FullName;
        var server = new PostgresProcess(folder);
        await server.InitializeAsync();
        // another process may take the free port before the server has it
        for (var attempt = 0; ; attempt++)
        {
            server.Port = Ports.Free();
            if (await server.RunAsync())
                return server;
            if (attempt == 5)
                throw new InvalidOperationException(
                    $"PostgreSQL does not start: {await File.ReadAllTextAsync(Path.Combine(folder, "log"))}");
        }
    }

    /// <summary>A connection string that works; the given parts replace its own parts.</summary>
    public string Connection(string database = "postgres", string user = User, string password = Password, string more = "") =>
        $"Host=127.0.0.1;Port={Port};Database={database};Username={user};Password=\"{password}\";{more}";

    /// <summary>The same as a flag, without the password.</summary>
    public string Address(string database = "postgres") => $"postgres://{User}@127.0.0.1:{Port}/{database}";

    public PostgresOptions Options(string database = "postgres") => PostgresOptions.Parse(Connection(database));

    /// <summary>A new, empty database.</summary>
    public async Task<string> CreateDatabaseAsync()
    {
        var name = $"d{Guid.NewGuid():n}";
        await ExecuteAsync($"CREATE DATABASE {name}");
        return name;
    }

    /// <summary>Runs one statement, and returns its first value.</summary>
    public async Task<object?> ExecuteAsync(string sql, string database = "postgres")
    {
        await using var connection = new NpgsqlConnection(Connection(database, more: "Pooling=false"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    /// <summary>Stops it with all connections, like an operator's restart.</summary>
    public async Task StopAsync()
    {
        Signal(2);
        await ExitAsync();
    }

    /// <summary>Waits until it has ended.</summary>
    public Task ExitAsync() => _process!.WaitForExitAsync();

    /// <summary>Starts it again, on the same port and folder.</summary>
    public async Task RestartAsync() => (await RunAsync()).ShouldBeTrue();

    public void Signal(int signal) => _ = kill(_process!.Id, signal);

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
        {
            // immediate shutdown: its data is not needed
            Signal(3);
            await _process.WaitForExitAsync();
        }

        _process?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task InitializeAsync()
    {
        var passwordFile = Path.Combine(_folder, "password");
        await File.WriteAllTextAsync(passwordFile, Password);
        if (Environment.IsPrivilegedProcess)
        {
            using var chown = Process.Start("chown", ["-R", "postgres", _folder]);
            await chown.WaitForExitAsync();
        }

        using var initialize = Start(
            "initdb", "--pgdata", Path.Combine(_folder, "data"), "--username", User, "--pwfile", passwordFile, "--auth", "scram-sha-256",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync");
        await initialize.WaitForExitAsync();
        if (initialize.ExitCode != 0)
            throw new InvalidOperationException($"initdb failed: {await File.ReadAllTextAsync(Path.Combine(_folder, "log"))}");
    }

    private async Task<bool> RunAsync()
    {
        _process = Start(
            "postgres", "-D", Path.Combine(_folder, "data"), "-p", $"{Port}", "-c", "listen_addresses=127.0.0.1", "-c",
            "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=60");
        var began = Stopwatch.GetTimestamp();
        while (!_process.HasExited && Stopwatch.GetElapsedTime(began) < StartsWithin)
        {
            try
            {
                await ExecuteAsync("SELECT 1");
                return true;
            }
            catch (NpgsqlException)
            {
                await Task.Delay(20);
            }
        }

        return false;
    }

    // The shell replaces itself with the program, so the process ID is the program's. Its output goes to a file.
    private Process Start(string program, params string[] arguments)
    {
        string[] command = [Binary(program), .. arguments];
        if (Environment.IsPrivilegedProcess)
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", .. command];
        return Process.Start(new ProcessStartInfo(
            "sh", ["-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1", "sh", Path.Combine(_folder, "log"), .. command])
        {
            WorkingDirectory = _folder,
        })!;
    }

    // Debian installs the server's programs in a folder for each version.
    private static string Binary(string name) =>
        Directory.Exists("/usr/lib/postgresql")
            ? Directory.EnumerateFiles("/usr/lib/postgresql", name, SearchOption.AllDirectories)
                .OrderBy(path => path, StringComparer.Ordinal)
                .LastOrDefault() ?? name
            : name;

    [LibraryImport("libc")]
    private static partial int kill(int pid, int signal);
}

/// <summary>The server that all tests share.</summary>
public sealed class PostgresServer : IAsyncLifetime
{
    private PostgresProcess? _process;

    internal PostgresProcess Process => _process!;

    public async Task InitializeAsync() => _process = await PostgresProcess.StartAsync();

    public async Task DisposeAsync()
    {
        if (_process is not null)
            await _process.DisposeAsync();
    }
}

/// <summary>Tests that use <see cref="PostgresServer"/>. They run one after the other, since some of them stop it.</summary>
[CollectionDefinition(Name)]
public sealed class PostgresCollection : ICollectionFixture<PostgresServer>
{
    public const string Name = "postgres";
}
