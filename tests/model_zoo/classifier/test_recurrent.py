import pytest
import torch

from model_zoo.classifier.encoder import freeze
from model_zoo.classifier.recurrent import Recurrent, RecurrentConfig

LATENT = 6
JD = 2461000.5


def seeded(**options: int) -> Recurrent:
    torch.manual_seed(0)
    model = Recurrent(RecurrentConfig(latent=LATENT, hidden=16, **options))
    freeze(model)
    return model


def sequence(steps: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One sequence, as a batch of one."""
    torch.manual_seed(seed)
    jd = JD + torch.rand(1, steps, dtype=torch.float64).cumsum(1)
    return torch.randn(1, steps, LATENT), jd, torch.randint(1, 4, (1, steps)), torch.tensor([steps])


def padded(
    columns: tuple[torch.Tensor, ...], steps: int, value: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    latents, jd, band, lengths = columns
    more = steps - latents.shape[1]
    return (
        torch.cat([latents, torch.full((1, more, LATENT), value)], 1),
        torch.cat([jd, torch.full((1, more), value, dtype=torch.float64)], 1),
        torch.cat([band, torch.zeros(1, more, dtype=torch.int64)], 1),
        lengths,
    )


@pytest.mark.parametrize("length", [1, 2, 7, 40, 300])
def test_a_sequence_of_any_length_becomes_one_logit_a_class(length: int) -> None:
    assert seeded(classes=4)(*sequence(length)).shape == (1, 4)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("value", [0.0, 1e6, -5.0, float("nan")])
def test_what_the_padding_holds_does_not_matter(value: float, layers: int) -> None:
    model, columns = seeded(layers=layers), sequence(5)
    first, second = model(*padded(columns, 16, 0.0)), model(*padded(columns, 16, value))
    assert torch.equal(first, second)


@pytest.mark.parametrize("steps", [6, 8, 64])
def test_how_much_padding_there_is_does_not_matter(steps: int) -> None:
    model, columns = seeded(), sequence(5)
    assert torch.allclose(model(*padded(columns, steps, 0.0)), model(*columns), atol=1e-6)


def test_sequences_of_different_lengths_are_judged_each_at_its_own_last_step() -> None:
    model, short, long = seeded(), sequence(3, seed=1), sequence(9, seed=2)
    together = model(*(torch.cat(pair) for pair in zip(padded(short, 9, 0.0), long, strict=True)))
    assert torch.allclose(together[0], model(*short)[0], atol=1e-6)
    assert torch.allclose(together[1], model(*long)[0], atol=1e-6)


def test_the_order_of_a_sequence_matters() -> None:
    model, (latents, jd, band, lengths) = seeded(), sequence(4)
    assert not torch.allclose(model(latents.flip(1), jd, band, lengths), model(latents, jd, band, lengths))


def test_when_alerts_came_and_in_which_band_matters() -> None:
    model, (latents, jd, band, lengths) = seeded(), sequence(4)
    first = model(latents, jd, band, lengths)
    assert not torch.allclose(model(latents, JD + (jd - JD) * 5, band, lengths), first)
    assert not torch.allclose(model(latents, jd, band % 3 + 1, lengths), first)


def test_the_date_itself_does_not_matter_only_the_time_between() -> None:
    model, (latents, jd, band, lengths) = seeded(), sequence(4)
    assert torch.allclose(model(latents, jd + 4096.0, band, lengths), model(latents, jd, band, lengths), atol=1e-6)


def test_times_are_taken_in_double_precision() -> None:
    """A minute is 7e-4 days, 300 times finer than a float32 Julian date."""
    latents, jd, band, _ = sequence(2)
    jd = torch.tensor([[JD, JD + 1 / 1440]], dtype=torch.float64)
    features = seeded().features(latents, jd, band)
    minute = torch.log1p(torch.tensor(1 / 1440)).item()
    assert features[0, 1, LATENT : LATENT + 2].tolist() == pytest.approx([minute, minute], rel=1e-4)


def test_features_are_latent_time_since_last_time_since_first_and_band() -> None:
    latents, band = torch.zeros(1, 3, LATENT), torch.tensor([[1, 3, 9]])
    jd = torch.tensor([[JD, JD + 1, JD + 3]], dtype=torch.float64)
    features = seeded().features(latents, jd, band)
    assert features.shape == (1, 3, LATENT + 5)
    logs = torch.tensor([1.0, 2.0, 3.0, 4.0]).log()
    assert torch.allclose(features[0, :, LATENT], logs[[0, 1, 2]])
    assert torch.allclose(features[0, :, LATENT + 1], logs[[0, 1, 3]])
    assert features[0, :, LATENT + 2 :].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]], "an unknown band is none"


def test_a_time_that_goes_back_counts_as_no_time() -> None:
    jd = torch.tensor([[JD, JD + 3, JD + 1, JD - 2]], dtype=torch.float64)
    features = seeded().features(torch.zeros(1, 4, LATENT), jd, torch.ones(1, 4, dtype=torch.int64))
    logs = torch.tensor([1.0, 2.0, 3.0, 4.0]).log()
    assert torch.allclose(features[0, :, LATENT], logs[[0, 3, 0, 0]])
    assert torch.allclose(features[0, :, LATENT + 1], logs[[0, 3, 1, 0]])


def test_latents_are_standardised_by_the_stored_moments() -> None:
    plain, scaled, (latents, *rest) = seeded(), seeded(), sequence(4)
    scaled.mean += 3.0
    scaled.deviation *= 2.0
    assert torch.allclose(scaled(latents * 2.0 + 3.0, *rest), plain(latents, *rest), atol=1e-5)


def test_a_temperature_divides_the_logits() -> None:
    plain, warm, columns = seeded(), seeded(), sequence(4)
    warm.temperature *= 4.0
    assert torch.allclose(warm(*columns) * 4.0, plain(*columns))
