namespace Aglow.Demo;

/// <summary>One of the demo's people.</summary>
internal sealed record DemoPerson(uint Number, string Name, string DisplayName);

/// <summary>
/// The demo's people: the same names with the same indexes at every start.
/// </summary>
/// <remarks>
/// They have the last 65,536 indexes, from 4294901760 up. The directory gives indexes from 2^31 up and would reach these after two billion
/// users. Heartbeats from outside need an index that was given. So no real user has these indexes. They have 256 pages of their own, so one
/// comparison shows whether an index or a page belongs to the demo.
/// </remarks>
internal sealed class DemoPeople
{
    /// <summary>The first of their pages. All higher ones belong to them too.</summary>
    public const int FirstPage = 257 << 8;

    public const string NamePrefix = "demo-";

    // in steps of this size, each of the 80 times 80 pairs of names comes once, and neighbours share neither name
    private const int Stride = 1_237;

    private static readonly string[] FirstNames = Words(
        """
        Ada Adaeze Aiko Alejandro Amara Amina Anders Anika Anton Asha Astrid Bao Beatriz Bilal Bruno Camila Carlos Chidi Chloe Clara
        Dalia Daniel Diego Ebba Elena Elif Emeka Emil Esther Eva Farah Felix Fatima Freya Gabriel Giulia Grace Hana Hassan Hugo
        Ines Ingrid Isaac Ivan Jana Jasper Jonas Julia Kai Karim Kenji Kofi Lars Layla Leila Lena Leo Lucia Luis Maja
        Marco Maria Mateo Mei Mila Mira Nadia Naomi Nia Nikolai Noor Nora Olga Omar Oscar Priya Ravi Rosa Samir Yuki
        """);

    private static readonly string[] LastNames = Words(
        """
        Abara Abe Adeyemi Ahmed Alvarez Andersen Aydin Bakker Banerjee Barros Bauer Becker Bello Berg Bianchi Blanc Brandt Castro Chen Conti
        Costa Cruz Dahl Desai Diallo Diaz Dubois Eriksen Evans Farouk Ferrari Fischer Fontaine Garcia Ghosh Gruber Haddad Hansen Hara
        Hoffman Ibrahim Ito Ivanova Jensen Johansson Kamau Kaplan Keller Khan Kim Kowalski Kumar Larsen Lee Lindqvist Lopez Marino Martin
        Mbeki Mehta Mensah Moreau Morita Mwangi Nakamura Ndiaye Nguyen Nowak Okafor Okoro Olsen Park Patel Pereira Petrov Rahman Rossi Sato
        Silva Suzuki
        """);

    private readonly Dictionary<string, DemoPerson> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<uint, DemoPerson> _byNumber = [];

    /// <summary>The first <paramref name="count"/> people, without those whose name a user has.</summary>
    public DemoPeople(int count, IReadOnlySet<string> taken)
    {
        foreach (var name in Names(count))
        {
            if (taken.Contains(name))
                continue;
            var displayName = string.Join(
                ' ', name[NamePrefix.Length..].Split('-').Select(static word => char.ToUpperInvariant(word[0]) + word[1..]));
            var person = new DemoPerson(UserId.FirstDemoNumber + (uint)_byName.Count, name, displayName);
            _byName.Add(name, person);
            _byNumber.Add(person.Number, person);
        }

        All = [.. _byName.Values];
    }

    /// <summary>All people, by ascending index.</summary>
    public IReadOnlyList<DemoPerson> All { get; }

    public static IEnumerable<string> Names(int count)
    {
        for (var i = 0; i < count; i++)
        {
            var pair = i * Stride % (FirstNames.Length * LastNames.Length);
            yield return $"{NamePrefix}{FirstNames[pair % FirstNames.Length]}-{LastNames[pair / FirstNames.Length]}".ToLowerInvariant();
        }
    }

    /// <summary>Whether an index belongs to the demo, even if no person has it.</summary>
    public static bool IsNumber(uint user) => user >= UserId.FirstDemoNumber;

    public DemoPerson? Find(string name) => _byName.GetValueOrDefault(name);

    public DemoPerson? Find(uint number) => _byNumber.GetValueOrDefault(number);

    private static string[] Words(string text) =>
        text.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
