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
    private byte[] _frame = new byte[64 * 1024];
    private int _length;
    private long _round;
    private bool _isFirst;

    /// <summary>Begins a message under a definition. <paramref name="id"/>: of the message that it answers.</summary>
    public void Begin(Definition definition, long? id = null)
    {
        _isFirst = true;
        _length = 0;
        if (id is null && definition == defaultDefinition)
        {
            Write("{\"type\":\"presence\",\"users\":["u8);
            return;
        }

        Write("{\"type\":\"presence\""u8);
        if (id is { } request)
            Write(Encoding.UTF8.GetBytes($",\"id\":{request}"));
        if (definition != defaultDefinition)
            Write(Encoding.UTF8.GetBytes($",\"definition\":\"{definition.Name}\""));
        Write(",\"users\":["u8);
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
            _encoded.Advance(topic.Write(_encoded.GetSpan(topic.MaxBytes(topic.LastSent)), topic.LastSent));
            topic.EncodedAt = (at, _encoded.WrittenCount - at);
            topic.EncodedRound = _round;
        }

        var (offset, length) = topic.EncodedAt;
        Write(_encoded.WrittenSpan.Slice(offset, length));
    }

    /// <summary>Adds the record of a topic as one watcher may see it, encoded for this message only.</summary>
    public void Append(Topic topic, Presence shown)
    {
        Separate();
        MakeRoom(topic.MaxBytes(shown));
        _length += topic.Write(_frame.AsSpan(_length), shown);
    }

    /// <summary>Ends the message and returns it.</summary>
    public ReadOnlySpan<byte> End()
    {
        Write("]}"u8);
        return _frame.AsSpan(0, _length);
    }

    private void Separate()
    {
        if (!_isFirst)
            Write(","u8);
        _isFirst = false;
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        MakeRoom(bytes.Length);
        bytes.CopyTo(_frame.AsSpan(_length));
        _length += bytes.Length;
    }

    private void MakeRoom(int more)
    {
        if (_frame.Length - _length < more)
            Array.Resize(ref _frame, Math.Max(_length + more, 2 * _frame.Length));
    }
}
