# %% [markdown]
# # Fine-tune on a few strokes and segment new images
#
# Four small fluorescence images come with the package, with strokes as somebody would paint them in napari: about 3 % of
# the pixels, in the classes background, nucleus and border. What is not painted is *unlabelled*, which is something else
# than background: it counts in no loss and in no score.
#
# Everything here runs on a laptop without a network, in about a minute.

# %%
from pathlib import Path

from napari_sam2_adapters import (
    build_segmenter,
    evaluate,
    load_adapter,
    predict,
    save_adapter,
    train,
)
from napari_sam2_adapters.config import ModelConfig, PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import build_dataset
from napari_sam2_adapters.data.io import write_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.training.records import ValidationRecord

sample = load_sample("fluorescence")
painted = (sample.train_strokes > 0).mean()
print(f"{len(sample.train_images)} images {sample.train_images.shape[1:]}, {painted:.1%} painted")

# %% [markdown]
# ## Data
#
# A data set is made of pairs of image and labels (numpy, dask or zarr, of one or many planes). It settles how grey values
# become numbers between 0 and 1, and holds out whole images, slices or, with a single image, a region, so that the scores
# are honest.

# %%
config = TrainConfig(steps=24, validate_every=12, batch_size=2, held_out_fraction=0.25)
dataset = build_dataset(
    sample.train_pairs(strokes=True),
    sample.classes,
    zero_is=config.zero_is,
    held_out_fraction=config.held_out_fraction,
    crop_size_px=config.crop_size_px,
)
print(dataset.split_description, [entry.name for entry in dataset.classes])

# %% [markdown]
# ## Training
#
# The backbone `mobile` is built in and stays frozen; a light adapter beside each of its blocks learns. `train` is a
# generator: it yields a record after every step and every check on the held-out pixels. Leave the loop whenever you like:
# the best weights so far are in the segmenter.

# %%
model = ModelConfig(adapter="lw", input_channels=dataset.input_channels)
segmenter = build_segmenter(model, dataset.classes)
for record in train(segmenter, dataset, config):
    if isinstance(record, ValidationRecord):
        print(f"step {record.step}: held-out Dice {record.mean_dice:.3f}")

# %% [markdown]
# ## The model file
#
# What was learnt is a file of a few MB, with classes, colours and normalisation inside.

# %%
folder = Path("tutorial-output")
model_file = folder / "nuclei.adapter.safetensors"
save_adapter(
    model_file, segmenter, normalization=dataset.normalization, tile_size_px=448, overwrite=True
)
print(f"{model_file.name}: {model_file.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Segmenting new images
#
# `folded` makes a network for inference alone, which gives the same result faster. Tiles and their seams are taken care
# of, whatever the size of the image.

# %%
trained, header = load_adapter(model_file)
trained = trained.folded()
new = sample.held_out_images[0]
result = predict(
    trained,
    new,
    axes=sample.axes,
    normalization=header.normalization,
    config=PredictConfig(uncertainty=True),
)
write_labels(folder / "mask.tif", result.labels, axes=sample.axes, overwrite=True)
print(result.labels.shape, result.labels.dtype, f"mean uncertainty {result.uncertainty.mean():.2f}")

# %% [markdown]
# ## Scores
#
# On images that took no part in training, with dense labels.

# %%
scores = evaluate(
    trained,
    sample.held_out_pairs(),
    zero_is="unlabelled",
    normalization=header.normalization,
)
for name, dice in scores.dice.items():
    print(f"{name:12} Dice {dice:.3f}")
print(f"{'mean':12} Dice {scores.mean_dice:.3f}")

# %% [markdown]
# The same from the command line: `sam2-adapters train`, `predict` and `evaluate`; in napari: *Plugins ▸ SAM2 adapters*.
