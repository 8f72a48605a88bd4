using Aglow.Fuzz.Damage;

namespace Aglow.Fuzz.Tests;

/// <summary>
/// Flips some bytes of every file of a data folder, at rest and in use. <c>./aglow fuzz damage</c> does the same for a thousand.
/// </summary>
public class DamageTests
{
    [Fact]
    public async Task No_flipped_byte_loses_a_fact_in_silence()
    {
        var output = new StringWriter();
        var results = await new DamageRun(places: 3, seed: 3, onlyFile: null, onlyState: null, output).RunAsync(CancellationToken.None);
        foreach (var result in results)
            result.Silent.ShouldBeEmpty(result.ToString());
        foreach (var state in new[] { "stopped", "killed", "running" })
        {
            foreach (var file in new[] { "presence.db", "users.db", "consumers.db" })
                results.Single(one => one.State == state && one.File == file).Refused.ShouldBeGreaterThan(0, $"{state} {file}");
        }

        foreach (var file in new[] { "presence.db-wal", "users.db-wal", "consumers.db-wal" })
        {
            results.Single(one => one.State == "killed" && one.File == file).Refused.ShouldBe(3, file);
            results.ShouldContain(one => one.State == "running" && one.File == file);
        }

        // a run opens thousands of stores: each must be closed, also one that was refused late
        Directory.GetFiles("/proc/self/fd").Select(static one => new FileInfo(one).LinkTarget)
            .Where(static target => target?.Contains("aglow-damage-") == true).ShouldBeEmpty();
    }
}
