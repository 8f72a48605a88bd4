using System.Buffers;
using System.Text;
using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// Writes <c>presence</c> messages; each topic's record is encoded once a round, for all who watch it.
/// </summary>
/// <remarks>
/// <code>
///   encoded  | record of topic 4 | record of topic 17 | ...     of this round; a topic knows where its own is
///   frame    {"type":"presence","users":[ record , record ]}     copied together for one connection
/// </code>
/// Owned by the <see cref="WatchHub"/>'s loop; a message is good until the next <see cref="Begin"/>.
/// </remarks>
internal sealed class DeltaWriter(Definition defaultDefinition)
{
    private readonly ArrayBufferWriter<byte> _encoded = new(64 * 1024);
    private readonly ArrayBufferWriter<byte> _frame = new(64 * 1024);
    private long _round;
    private bool _isFirst;

    /// <summary>Statuses were read: what was encoded before is forgotten.</summary>
    public void BeginRound()
    {
        _round++;
        _encoded.ResetWrittenCount();
    }

    /// <summary>Begins a message about a definition; with an id it answers the message that had it.</summary>
    public void Begin(Definition definition, long? id = null)
    {
        _isFirst = true;
        _frame.ResetWrittenCount();
        _frame.Write("{\"type\":\"presence\""u8);
        if (id is { } asked)
            _frame.Write(Encoding.UTF8.GetBytes($",\"id\":{asked}"));
        if (definition != defaultDefinition)
            _frame.Write(Encoding.UTF8.GetBytes($",\"definition\":\"{definition.Name}\""));
        _frame.Write(",\"users\":["u8);
    }

    /// <summary>Adds what a topic's watchers are to know.</summary>
    public void Append(Topic topic)
    {
        Separate();
        if (topic.EncodedRound != _round)
        {
            var at = _encoded.WrittenCount;
            _encoded.Advance(topic.Write(_encoded.GetSpan(topic.MaxBytes(topic.Told)), topic.Told));
            topic.EncodedAt = (at, _encoded.WrittenCount - at);
            topic.EncodedRound = _round;
        }

        var (offset, length) = topic.EncodedAt;
        _frame.Write(_encoded.WrittenSpan.Slice(offset, length));
    }

    /// <summary>Adds what one watcher is to know of a topic, where that is not what all are: encoded for this message only.</summary>
    public void Append(Topic topic, Presence shown)
    {
        Separate();
        _frame.Advance(topic.Write(_frame.GetSpan(topic.MaxBytes(shown)), shown));
    }

    /// <summary>Ends the message and returns it.</summary>
    public ReadOnlySpan<byte> End()
    {
        _frame.Write("]}"u8);
        return _frame.WrittenSpan;
    }

    private void Separate()
    {
        if (!_isFirst)
            _frame.Write(","u8);
        _isFirst = false;
    }
}
