namespace Aglow.Tests;

/// <summary>A connection that takes all messages, unless the test says that its transport is full.</summary>
internal class FakeConnection(uint user, TimeSpan? interval = null) : WatchConnection(user)
{
    public new bool IsFull { get; set; }

    protected internal override TimeSpan TickInterval => interval ?? TimeSpan.FromSeconds(10);

    protected internal override bool Send(ReadOnlySpan<byte> json) => !IsFull;

    protected internal override bool Tick() => !IsFull;

    protected internal override bool Answer(ReadOnlySpan<byte> pingPayload) => !IsFull;

    protected internal override void Released()
    {
    }

    protected internal override void End(int code)
    {
    }
}
