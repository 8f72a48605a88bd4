namespace Aglow.Fuzz;

/// <summary>A reader that gets hostile input: how to make inputs for it, and what must hold for all of them.</summary>
/// <remarks>
/// An input's first byte says how the rest is cut, because a network delivers bytes in any pieces, and a correct reader handles all of
/// them. A target returns how the reader behaved (which answer, which refusal). An input that causes new behaviour is kept and varied.
/// Rejected: code coverage as feedback. It needs rewritten assemblies, so the tests would not test what ships.
/// </remarks>
internal abstract class Target
{
    /// <summary>The name of the target, and of its file in the corpus.</summary>
    public abstract string Name { get; }

    /// <summary>The reader of the server that it feeds.</summary>
    public abstract string Feeds { get; }

    /// <summary>
    /// The number of inputs per turn. Quick targets get more, so that connections take a third of the time, because they found the
    /// product's faults.
    /// </summary>
    public abstract int PerTurn { get; }

    /// <summary>Makes an input by the grammar: mostly valid, with mistakes in places.</summary>
    public abstract void Make(Dice dice, InputWriter input);
}

/// <summary>A rule on bytes, called synchronously.</summary>
internal abstract class RuleTarget : Target
{
    public override int PerTurn => 1024;

    /// <summary>Feeds an input. Returns how the rule behaved; throws if it misbehaved.</summary>
    public abstract int Run(ReadOnlyMemory<byte> input);
}

/// <summary>A server at the other end of a connection; many inputs run at a time.</summary>
internal abstract class ConnectionTarget(FuzzedServer server) : Target
{
    public override int PerTurn => 512;

    /// <summary>
    /// Sends an input over a new connection and reads all answers. Returns how the server behaved; throws if it misbehaved.
    /// </summary>
    public async Task<int> RunAsync(ReadOnlyMemory<byte> input)
    {
        var (bytes, isWhole) = await Exchange.RunAsync(server.Network, input);
        return HttpAnswer.IsHead(Cut.Body(input).Span) ? HttpAnswer.StatusOf(bytes) : Judge(bytes, isWhole);
    }

    /// <summary>
    /// Judges all answers. <paramref name="isWhole"/>: the server closed the connection before the client did.
    /// </summary>
    protected abstract int Judge(ReadOnlySpan<byte> bytes, bool isWhole);
}

/// <summary>
/// A violation of a rule: a 500, bytes that are not an answer, or a reader that judges an input and its pieces differently.
/// </summary>
internal sealed class FindingException(string message) : Exception(message);
