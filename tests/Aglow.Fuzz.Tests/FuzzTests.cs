namespace Aglow.Fuzz.Tests;

/// <summary>
/// Every kept input, and some twenty seconds of new ones by a fixed seed. <c>./aglow fuzz</c> is the same for as long as one likes.
/// </summary>
public class FuzzTests
{
    private static readonly string Kept = Path.Combine(AppContext.BaseDirectory, "Corpus");

    [Fact]
    public async Task What_was_found_once_is_mended_and_nothing_new_gives_way()
    {
        var options = new FuzzOptions(Seconds: 20, Inputs: long.MaxValue, Seed: 7, Workers: 2, Kept, Keep: false, Targets: [])
        {
            KeepsFindings = false,
        };
        var output = new StringWriter();
        var report = await FuzzRun.RunAsync(options, output, CancellationToken.None);
        report.IsClean.ShouldBeTrue(report.ToString());
        report.Targets.Count.ShouldBe(10);
        foreach (var target in report.Targets)
        {
            var kept = Corpus.Read(Kept, target.Target).Count;
            kept.ShouldBeGreaterThan(0, target.Target.Name);
            // each worker begins with what is kept
            target.Inputs.ShouldBeGreaterThan(2 * kept, target.Target.Name);
        }
    }
}
