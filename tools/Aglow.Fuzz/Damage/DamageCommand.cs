using System.CommandLine;
using System.Diagnostics;

namespace Aglow.Fuzz.Damage;

/// <summary><c>aglow fuzz damage</c>.</summary>
internal static class DamageCommand
{
    public static Command Create()
    {
        var places = FuzzCommand.Number("--places", "N", "how many bytes of each file are flipped, one at a time [1000]", 1000);
        var seed = FuzzCommand.Number("--seed", "K", "the same seed flips the same bytes [1]", 1);
        var file = new Option<string?>("--file") { Description = "only this file of the folder [all]", HelpName = "NAME" };
        var state = new Option<string?>("--state") { Description = "only one: stopped, killed or running [all]", HelpName = "STATE" };
        state.AcceptOnlyFromAmong("stopped", "killed", "running");
        var command = new Command(
            "damage",
            "Flips one byte of a data folder at a time, at rest and while it is written, and starts. Exit code 1: a fact was missing, and "
                + "no start said so.")
        {
            places, seed, file, state,
        };
        command.SetAction(async (parsed, stop) =>
        {
            var began = Stopwatch.GetTimestamp();
            var run = new DamageRun(
                parsed.GetValue(places), parsed.GetValue(seed), parsed.GetValue(file), parsed.GetValue(state), Console.Out);
            var results = await run.RunAsync(stop);
            var silent = results.Sum(static result => result.Silent.Count);
            await Console.Out.WriteLineAsync(
                $"{results.Sum(static result => result.Refused + result.Unharmed + result.Silent.Count)} flips in "
                    + $"{Stopwatch.GetElapsedTime(began).TotalSeconds:0} s: {silent} silent losses. "
                    + $"Memory: {Process.GetCurrentProcess().PeakWorkingSet64 >> 20} MB at most.");
            return silent == 0 ? 0 : 1;
        });
        return command;
    }
}
