using System.Text;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// Asks FTS5 for users that may hold a text, by its rarest trigrams, a stretch of numbers at a time. One thread at a time.
/// </summary>
/// <remarks>
/// FTS5 would look up every trigram of a phrase; where all names share a beginning ("user_0001234") it would walk through
/// lists as long as the directory beside those that decide. So each trigram's density is estimated first, from its next 256 users;
/// those over 8 times as frequent as the rarest are left out. The others are all asked for, neighbours as a phrase (FTS5 knows their
/// positions): fewer would do where the estimates are right, but they are not where those who have a trigram registered all at once, and
/// then thousands of rows would have to decide.
/// The estimate is made anew for each stretch, since who registered when decides who is where. A stretch is as long as to
/// hold some 50,000 entries of the rarest list: 10 ms or so.
/// </remarks>
internal sealed class GramQuery(SqliteConnection names) : IDisposable
{
    private const int Sample = 256;
    private const int MaxTrigrams = 24;
    private const double TooFrequent = 8;
    private const double StretchEntries = 50_000;

    private readonly SqliteStatement _estimate = new(
        names,
        $"SELECT count(*), max(rowid) FROM (SELECT rowid FROM gram WHERE gram MATCH ?1 AND rowid > ?2 AND rowid <= ?3 ORDER BY rowid LIMIT {Sample})");

    private readonly SqliteStatement _match = new(
        names, "SELECT rowid FROM gram WHERE gram MATCH ?1 AND rowid > ?2 AND rowid <= ?3 ORDER BY rowid");

    private bool _any;

    /// <summary>Begins a stretch above <paramref name="after"/>, which is below <paramref name="last"/>; returns where it ends.</summary>
    public uint Begin(ReadOnlySpan<byte> query, uint after, uint last)
    {
        Reset();
        var bounds = Characters(query);
        var trigrams = Math.Min(bounds.Count - 3, MaxTrigrams);
        Span<double> densities = stackalloc double[trigrams];
        var rarest = double.MaxValue;
        for (var i = 0; i < trigrams; i++)
        {
            densities[i] = Density(Phrase(query[bounds[i]..bounds[i + 3]]), after, last);
            if (densities[i] == 0)
                return last;
            rarest = Math.Min(rarest, densities[i]);
        }

        Span<bool> asked = stackalloc bool[trigrams];
        for (var i = 0; i < trigrams; i++)
            asked[i] = densities[i] <= rarest * TooFrequent;

        // neighbours that are asked for make one phrase
        var match = new StringBuilder();
        for (var i = 0; i < trigrams; i++)
        {
            if (!asked[i])
                continue;
            var start = bounds[i];
            while (i + 1 < trigrams && asked[i + 1])
                i++;
            match.Append(match.Length > 0 ? " AND " : "").Append(Phrase(query[start..bounds[i + 3]]));
        }

        var upTo = (uint)Math.Min(last, after + Math.Max(1, StretchEntries / rarest));
        _match.Bind(1, match.ToString()).Bind(2, after).Bind(3, upTo);
        _any = true;
        return upTo;
    }

    /// <summary>The next one in the stretch.</summary>
    public bool Step(out uint number)
    {
        _any = _any && _match.Step();
        number = _any ? (uint)_match.Int64(0) : 0;
        return _any;
    }

    public void Reset()
    {
        _any = false;
        _match.Reset();
    }

    public void Dispose()
    {
        _estimate.Dispose();
        _match.Dispose();
    }

    /// <summary>Where each character begins, and where the last one ends.</summary>
    private static List<int> Characters(ReadOnlySpan<byte> utf8)
    {
        var bounds = new List<int>(utf8.Length + 1);
        for (var i = 0; i < utf8.Length; i++)
        {
            if ((utf8[i] & 0xC0) != 0x80)
                bounds.Add(i);
        }

        bounds.Add(utf8.Length);
        return bounds;
    }

    /// <summary>A string in FTS5's language: nothing in it means anything but itself.</summary>
    private static string Phrase(ReadOnlySpan<byte> text) => $"\"{Encoding.UTF8.GetString(text).Replace("\"", "\"\"")}\"";

    /// <summary>The part of the numbers above <paramref name="after"/> that has this trigram; 0 only where none has.</summary>
    private double Density(string trigram, uint after, uint last)
    {
        _estimate.Bind(1, trigram).Bind(2, after).Bind(3, last);
        _estimate.Step();
        var count = _estimate.Int64(0);
        var reached = count < Sample ? last : _estimate.Int64(1);
        _estimate.Reset();
        return (double)count / (reached - after);
    }
}
