using System.Collections.ObjectModel;
using Aglow.Packages.Tests;

namespace Aglow.Client.Tests;

/// <summary>The client in programs that run it in another way than these tests do (tests/programs).</summary>
public sealed class ProgramTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    private const string SessionWords = "Online Saved Busy Busy Left Offline";

    [Fact]
    public async Task On_NET_8_it_passes_the_behaviour_suite_and_a_session_on_a_server()
    {
        var program = await PublishAsync("net8");
        (await RunAsync(program, server.Process.Address.AbsoluteUri)).ShouldMatch(
            $"^\\.NET 8\\.[^,]+, compiled at run time: {SessionWords}\n$");
        var said = await RunAsync(program, "scenarios", Path.Combine(AglowProcess.Root, "clients", "behaviour"));
        said.ShouldMatch($"^\\.NET 8\\.[^:]+: {Behaviour.BehaviourTests.Names().Count} passed\n$");
    }

    [Fact]
    public async Task Trimmed_and_compiled_ahead_of_time_it_has_a_session_on_a_server() =>
        (await RunAsync(await PublishAsync("native"), server.Process.Address.AbsoluteUri)).ShouldMatch(
            $"^\\.NET 10\\.[^,]+, native: {SessionWords}\n$");

    private static async Task<string> PublishAsync(string name)
    {
        await RunAsync(Path.Combine(AglowProcess.Root, "tests", "programs", "publish"), name);
        return Path.Combine(AglowProcess.Root, "out", "programs", name, "files", "Aglow.Client.Console");
    }

    /// <summary>Runs a program to its end, which must be good, and returns its output.</summary>
    internal static Task<string> RunAsync(params string[] words) =>
        Command.RunAsync(AglowProcess.Root, ReadOnlyDictionary<string, string>.Empty, words);
}
