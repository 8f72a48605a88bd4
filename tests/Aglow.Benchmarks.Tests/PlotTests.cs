using System.Xml.Linq;

namespace Aglow.Benchmarks.Tests;

public sealed class PlotTests
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void A_plot_is_well_formed_and_names_its_rows_unit_and_command()
    {
        var plot = new Plot("A < B", "CPU µs", "./aglow bench x --parts \"y\"");
        plot.Add("one & only", new Bar("single", [10]), new Bar("batch", [1]));

        var drawn = XDocument.Parse(plot.Draw());

        var texts = drawn.Descendants(Svg + "text").Select(t => t.Value).ToArray();
        texts.ShouldContain("A < B");
        texts.ShouldContain("one & only");
        texts.ShouldContain("single");
        texts.ShouldContain(t => t.StartsWith("CPU µs", StringComparison.Ordinal));
        texts.ShouldContain("./aglow bench x --parts \"y\"");
    }

    [Fact]
    public void Bars_are_as_long_as_their_logarithms()
    {
        var plot = new Plot("", "", "");
        plot.Add("a", new Bar("s", [1]));
        plot.Add("b", new Bar("s", [10]));
        plot.Add("c", new Bar("s", [100]));

        var widths = Bars(plot);

        (widths[2] - widths[1]).ShouldBe(widths[1] - widths[0], tolerance: 0.3);
    }

    [Fact]
    public void What_never_came_is_written_and_not_drawn()
    {
        var plot = new Plot("", "", "");
        plot.Add("a", new Bar("s", [double.PositiveInfinity]));
        plot.Add("b", new Bar("s", [10]));

        Bars(plot).Length.ShouldBe(1);
        plot.Draw().ShouldContain(">never<");
    }

    // without the squares of the legend
    private static double[] Bars(Plot plot) =>
        [.. XDocument.Parse(plot.Draw())
            .Descendants(Svg + "rect").Where(r => (string)r.Attribute("height")! != "12").Select(r => (double)r.Attribute("width")!)];
}
