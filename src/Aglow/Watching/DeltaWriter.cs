using System.Buffers;
using System.Text;

namespace Aglow.Watching;

/// <summary>
/// Writes <c>presence</c> messages. Each topic's record is encoded once, for all its watchers.
/// </summary>
/// <remarks>
/// <code>
///   encoded  | record of topic 4 | record of topic 17 | ...     each topic knows the place of its record, until the buffer is full
///   frame    {"type":"presence","users":[ record , record ]}     copied together for one connection
/// </code>
/// The <see cref="WatchHub"/>'s loop owns it. A message is valid until the next <see cref="Begin"/>.
/// </remarks>
internal sealed class DeltaWriter(Definition defaultDefinition)
{
    // room for the records of two rounds of a busy hub; small enough for the processor's cache
    private const int MaxEncoded = 256 * 1024;

    private readonly ArrayBufferWriter<byte> _encoded = new(64 * 1024);
    private readonly ArrayBufferWriter<byte> _frame = new(64 * 1024);
    private long _round;
    private bool _isFirst;

    /// <summary>Begins a message under a definition. <paramref name="id"/>: of the message that it answers.</summary>
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

    /// <summary>Adds the record of a topic that all its watchers receive.</summary>
    public void Append(Topic topic)
    {
        Separate();
        if (topic.EncodedRound != _round)
        {
            if (_encoded.WrittenCount > MaxEncoded)
            {
                _round++;
                _encoded.ResetWrittenCount();
            }

            var at = _encoded.WrittenCount;
            _encoded.Advance(topic.Write(_encoded.GetSpan(topic.MaxBytes(topic.Told)), topic.Told));
            topic.EncodedAt = (at, _encoded.WrittenCount - at);
            topic.EncodedRound = _round;
        }

        var (offset, length) = topic.EncodedAt;
        _frame.Write(_encoded.WrittenSpan.Slice(offset, length));
    }

    /// <summary>Adds the record of a topic as one watcher may see it, encoded for this message only.</summary>
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
