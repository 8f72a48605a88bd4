using System.Reflection;
using Aglow.AspNetCore.Http;

namespace Aglow.Tests;

/// <summary>Refusals by limits are counted by kind.</summary>
public class LimitReportsTests
{
    [Fact]
    public void Every_limit_has_a_kind()
    {
        var limits = typeof(Problems).GetMethods(BindingFlags.Static | BindingFlags.Public)
            .Where(static method => method.ReturnType == typeof(ProblemException))
            .Select(static method => (Method: method, Takes: method.GetParameters().Select(static p => p.ParameterType).ToArray()))
            .Where(static one => one.Takes.All(static type => type == typeof(int) || type == typeof(string)))
            .Select(static one => one.Method.Invoke(null, [.. one.Takes.Select(static type => type == typeof(int) ? (object)1 : "x")]))
            .Cast<ProblemException>()
            .Where(static problem => problem.Status == 429)
            .Select(static problem => problem.Title.ToLowerInvariant().Replace(' ', '-'))
            .ToArray();
        limits.Length.ShouldBeGreaterThan(4);
        limits.Except(LimitReports.Kinds).ShouldBeEmpty();
    }
}
