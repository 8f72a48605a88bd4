namespace Aglow.Fuzz;

/// <summary>
/// Something that reads what strangers send: how inputs for it are made, and what must hold whatever they are.
/// </summary>
/// <remarks>
/// An input's first byte says how the rest is cut, since bytes come from a network in whatever pieces: a reader that minds is wrong. What a
/// target returns stands for how it behaved (which answer, which refusal): an input that makes it behave as none before is kept and varied.
/// That is the feedback; coverage of the code itself was not taken, since it needs the product's assemblies rewritten, and what ships would
/// not be what is tested.
/// </remarks>
internal abstract class Target
{
    /// <summary>Of the target, and of its file in the corpus.</summary>
    public abstract string Name { get; }

    /// <summary>Which of the server's readers it feeds.</summary>
    public abstract string Feeds { get; }

    /// <summary>
    /// How many inputs it gets in turn: of the quick ones more, so that a third of the time is the connections'. What was wrong in the
    /// product was found through them.
    /// </summary>
    public abstract int PerTurn { get; }

    /// <summary>Makes an input by the grammar: mostly right, wrong in places.</summary>
    public abstract void Make(Dice dice, InputWriter input);
}

/// <summary>A rule on bytes: called, not waited for.</summary>
internal abstract class RuleTarget : Target
{
    public override int PerTurn => 1024;

    /// <summary>Feeds it. Returns how it behaved; throws where it misbehaved.</summary>
    public abstract int Run(ReadOnlyMemory<byte> input);
}

/// <summary>A server at the other end of a connection: many at a time.</summary>
internal abstract class ConnectionTarget(FuzzedServer server) : Target
{
    public override int PerTurn => 512;

    /// <summary>
    /// Sends it over a connection of its own and reads all that is answered. Returns how the server behaved; throws where it misbehaved.
    /// </summary>
    public async Task<int> RunAsync(ReadOnlyMemory<byte> input)
    {
        var (bytes, isWhole) = await Exchange.RunAsync(server.Network, input);
        return HttpAnswer.IsHead(Cut.Body(input).Span) ? HttpAnswer.StatusOf(bytes) : Judge(bytes, isWhole);
    }

    /// <summary>
    /// Judges all that was answered; <paramref name="isWhole"/>: the server ended the connection before the client was gone.
    /// </summary>
    protected abstract int Judge(ReadOnlySpan<byte> bytes, bool isWhole);
}

/// <summary>
/// What must never be, and was: an answer of 500, bytes that are no answer, a rule that says one thing for a whole and another for its
/// pieces.
/// </summary>
internal sealed class FindingException(string message) : Exception(message);
